-- The tables the examples use: users who buy things.
CREATE TABLE users (
  id bigint PRIMARY KEY,
  name text NOT NULL,
  email text,
  status text NOT NULL,
  created_at timestamptz NOT NULL
);

INSERT INTO users VALUES
  (1, 'Ada Lovelace',    'Ada@Example.org',    'active', '2023-11-05 09:00+00'),
  (2, ' Grace Hopper ',  'grace@example.org',  'active', '2024-01-15 10:30+00'),
  (3, 'Alan Turing',     NULL,                 'left',   '2024-02-20 16:45+00'),
  (4, 'Edsger Dijkstra', 'EDSGER@example.org', 'active', '2024-03-01 08:15+00');

CREATE TABLE orders (
  id bigint PRIMARY KEY,
  user_id bigint NOT NULL REFERENCES users,
  amount numeric(10,2) NOT NULL,
  placed_at timestamp NOT NULL
);

INSERT INTO orders VALUES
  (1, 1, 20.00, '2024-03-01 10:00'),
  (2, 2,  9.99, '2024-03-01 11:30'),
  (3, 1,  5.01, '2024-03-01 18:00'),
  (4, 4, 70.00, '2024-03-02 09:00'),
  (5, 2, 30.00, '2024-03-02 12:45');
