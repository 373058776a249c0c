"""Check a Compose file: python check_compose.py SCHEMA FILE. Exit code 1, with the reason, if it is not valid."""

import json
import sys
from pathlib import Path

import yaml
from jsonschema import Draft7Validator
from jsonschema.exceptions import best_match

# The schema is of 2021. What the specification has got since then, and this project uses:
NEWER = {"dockerfile_inline": {"type": "string"}}

schema = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
build = next(form for form in schema["definitions"]["service"]["properties"]["build"]["oneOf"] if "properties" in form)
build["properties"].update(NEWER)
error = best_match(Draft7Validator(schema).iter_errors(yaml.safe_load(Path(sys.argv[2]).read_text(encoding="utf-8"))))
if error:
    sys.exit(f"{sys.argv[2]}: {'.'.join(map(str, error.absolute_path))}: {error.message}")
