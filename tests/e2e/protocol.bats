#!/usr/bin/env bats
#
# The control protocol, spoken by a client that shares no line of code with ours.

load ../lib/e2e

setup() {
    need_tools python3
    e2e_setup
    start_vblkd
}

teardown() {
    e2e_teardown
}

client() {
    without_bats python3 "$BATS_TEST_DIRNAME/protocol_client.py" "$E2E_DIR/control" "$1"
}

@test "protocol: life of a disk" {
    client life_of_a_disk
}

@test "protocol: ids come back" {
    client ids_come_back
}

@test "protocol: notifications are carried out without an answer" {
    client notifications_are_carried_out_without_an_answer
}

@test "protocol: requests in a row" {
    client requests_in_a_row
}

@test "protocol: line in pieces" {
    client line_in_pieces
}

@test "protocol: half closed connection gets its answers" {
    client half_closed_connection_gets_its_answers
}

@test "protocol: half closed connection is told how the daemon ended" {
    client half_closed_connection_is_told_how_the_daemon_ended
    wait_until 5 process_ended vblkd
}

@test "protocol: methods tell their parameters" {
    client methods_tell_their_parameters
}

@test "protocol: bad lines are told and the connection goes on" {
    client bad_lines_are_told_and_the_connection_goes_on
}

@test "protocol: names are told" {
    client names_are_told
}

@test "protocol: each parameter is checked" {
    client each_parameter_is_checked
}

@test "protocol: members of other types and twins are refused" {
    client members_of_other_types_and_twins_are_refused
}

@test "protocol: refusals name the errno" {
    client refusals_name_the_errno
}

@test "protocol: longest line is taken and a longer one ends the connection" {
    client longest_line_is_taken_and_a_longer_one_ends_the_connection
}

@test "protocol: endless line" {
    client endless_line
}

@test "protocol: settings with hostile values" {
    client settings_with_hostile_values
}

@test "protocol: settings on their way do not undo each other" {
    client settings_on_their_way_do_not_undo_each_other
}

@test "protocol: settings in a row" {
    client settings_in_a_row
}

@test "protocol: garbage ends nothing" {
    client garbage_ends_nothing
}

@test "protocol: clients that leave early" {
    client clients_that_leave_early
}

@test "protocol: clients that list as often as they may" {
    client clients_that_list_as_often_as_they_may
}

@test "protocol: client that does not read is dropped" {
    client client_that_does_not_read_is_dropped
}

@test "protocol: too many clients" {
    client too_many_clients
}

@test "protocol: every scenario of the client has its test" {
    local scenario

    while read -r scenario; do
        grep -q "^    client $scenario\$" "$BATS_TEST_FILENAME"
    done < <(sed -n 's/^def try_\([a-z_]*\).*/\1/p' "$BATS_TEST_DIRNAME/protocol_client.py")
}
