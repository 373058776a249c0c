"""Where each row of the security matrix (S1 to S43) is proved.

A row without a test here is one that nothing of this platform can be reached by, with the reason.

=====  ==========================================================================================================
S1     unit/security/test_plans.py::test_s1_s2_a_name_is_a_name
       unit/persistence/test_tables.py::test_a_table_is_quoted_for_sql_and_plain_for_people
S2     unit/security/test_plans.py::test_s1_s2_a_name_is_a_name
       unit/plan/test_names.py
S3     unit/security/test_plans.py::test_s3_a_source_is_only_read
       unit/ingestion/test_duckdb.py::test_the_database_is_only_read
S5     unit/security/test_plans.py::test_s5_s6_s7_sql_of_a_step_reaches_nothing_but_its_input
       unit/transformation/test_sql.py::test_everything_else_is_refused_by_name
S6     unit/security/test_plans.py::test_s5_s6_s7_sql_of_a_step_reaches_nothing_but_its_input
       unit/ingestion/test_duckdb.py::test_a_variable_of_the_program_is_no_table
S7     unit/security/test_plans.py::test_s7_s27_a_query_without_end_is_stopped
       unit/transformation/test_sql.py::test_too_little_memory_and_no_spilling_is_named
S8     unit/security/test_plans.py::test_s8_s42_an_expression_is_one_expression_of_sql
       unit/transformation/test_config.py::test_an_expression_cannot_break_out_of_its_place
S9     unit/security/test_plans.py::test_s9_only_functions_of_allowed_modules_are_called
       unit/workers/test_envelope.py::test_a_listed_module_does_not_lend_what_it_imports
S10    unit/security/test_servers.py::test_s10_only_json_is_read_from_the_broker
S11    integration/workers/test_trust.py::test_an_unsigned_message_is_refused
       unit/workers/test_envelope.py::test_no_change_of_a_signed_message_goes_unseen
       unit/workers/test_envelope.py::test_replayed_for_another_run
S12    unit/security/test_plans.py::test_s12_no_variable_of_the_environment_is_named
       integration/workers/test_trust.py::test_passwords_of_documents_stay_out_of_redis_and_record
       integration/rest/test_canary.py::test_redis_has_no_trace_of_them
S13    unit/plan/test_urls.py::test_the_safe_form_has_no_password
       unit/test_secrets.py
       integration/rest/test_canary.py::test_no_answer_has_them
S15    integration/rest/test_canary.py::test_no_log_has_them
       unit/transformation/test_sql.py::test_a_conversion_error_says_what_but_not_the_value
S16    unit/security/test_requests.py::test_s16_no_parameter_of_a_notebook_stands_for_a_secret
       unit/notebooks/test_parameters.py::test_a_secret_in_the_clear_is_refused_and_not_repeated
       integration/rest/test_canary.py::test_no_file_has_them_but_rows_on_their_way
S18    unit/security/test_requests.py::test_s18_a_notebook_is_one_of_the_folder
       unit/rest/test_shelf.py::test_no_name_leads_out
       unit/workers/test_unsigned_jobs.py::test_a_job_that_is_not_signed_steers_nothing
S19    unit/security/test_requests.py::test_s19_a_subject_or_a_run_is_no_path
       unit/security/test_plans.py::test_s19_no_file_outside_the_folders_is_read
       unit/workers/test_spool.py::test_a_task_id_never_becomes_a_path
       unit/workers/test_spool.py::test_a_link_in_the_spool_is_not_followed
S20    unit/security/test_plans.py::test_s20_a_url_reaches_no_server_that_was_not_opened
       unit/security/test_plans.py::test_s20_neither_a_socket_nor_an_option_is_a_way_round
S21    unit/security/test_plans.py::test_s21_no_option_of_a_driver_is_taken
S22    unit/security/test_plans.py::test_s22_no_database_file_outside_the_folders_is_opened_or_made
       unit/security/test_plans.py::test_s22_a_query_on_sqlite_leaves_its_file_alone
S23    unit/security/test_plans.py::test_s23_only_known_dialects_are_taken
S24    unit/security/test_requests.py::test_s24_every_route_needs_a_key_but_health
       unit/security/test_requests.py::test_s24_it_does_not_start_for_others_without_a_key
S25    unit/security/test_requests.py::test_s25_a_name_that_was_bound_to_this_address_is_not_ours
       unit/security/test_requests.py::test_s25_a_page_of_another_origin_gets_nothing
       unit/security/test_requests.py::test_s25_s28_only_json_is_taken
S26    unit/security/test_requests.py::test_s26_nothing_of_others_is_there
       unit/rest/test_once.py::test_owners_do_not_share_keys
S27    unit/security/test_requests.py::test_s27_s28_s29_a_body_is_strict_json_within_limits
       unit/security/test_requests.py::test_s27_a_body_that_comes_too_slowly_is_not_waited_for
       unit/security/test_plans.py::test_s7_s27_ten_thousand_filters_are_no_crash
S28    unit/security/test_requests.py::test_s25_s28_only_json_is_taken
       unit/plan/test_document.py::test_yaml_is_read_as_data_only
S29    unit/plan/test_document.py::test_yaml_is_read_as_data_only
S30    unit/plan/test_document.py::test_yaml_means_what_json_means
S32    unit/security/test_requests.py::test_s32_one_caller_cannot_use_up_the_requests_of_another
       unit/workers/test_idempotency.py
S33    unit/security/test_plans.py::test_s33_a_pattern_cannot_run_away
S34    unit/display/test_card.py::test_everything_from_outside_is_escaped
       unit/display/test_preview.py::test_everything_is_escaped
       unit/display/test_runlist.py::test_names_are_escaped
S35    unit/security/test_requests.py::test_s35_what_is_sent_makes_no_lines_of_its_own_in_a_log
S36    nothing exports for spreadsheets: CSV holds the data as they are
S37    unit/security/test_servers.py::test_s37_copy_is_only_ever_from_and_to_the_client
S38    the URL of a connection says how it is encrypted, and docs/how-to tell how; no request may change it (S21)
S39    unit/data/test_stream.py::test_a_scratch_directory_is_private_and_leaves_nothing
       unit/workers/test_spool.py::test_the_spool_is_for_its_user_only
S40    unit/workers/test_envelope.py::test_unsigned
       unit/workers/test_envelope.py::test_a_worker_without_the_key_takes_no_function
S41    unit/security/test_requests.py::test_s41_a_key_to_read_sets_nothing_going
       integration/workers/test_flower.py::test_flower_asks_for_a_password_and_lists_a_worker
S42    unit/security/test_plans.py::test_s8_s42_an_expression_is_one_expression_of_sql
       unit/rest/test_shelf.py::test_nothing_else_is_there
S43    pyproject.toml has the floors; an audit of what is installed is a step of the release
=====  ==========================================================================================================
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROWS = {1, 2, 3, *range(5, 14), 15, 16, *range(18, 31), *range(32, 44)}


def test_every_row_is_proved_by_a_test_that_is_there() -> None:
    table = str(__doc__)
    assert {int(number) for number in re.findall(r"^S(\d+) ", table, re.MULTILINE)} == ROWS
    named = re.findall(r"((?:unit|integration)/[\w/]+\.py)(?:::(\w+))?", table)
    assert len(named) > 50
    for path, test in named:
        assert f"def {test}(" in (ROOT / path).read_text() if test else (ROOT / path).exists(), f"{path}::{test}"
