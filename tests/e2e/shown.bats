#!/usr/bin/env bats
#
# What a disk shows its guest stays, and may be had on another host.

load ../lib/e2e

setup_file() {
    e2e_setup_file
}

setup() {
    e2e_setup
}

teardown() {
    e2e_teardown
}

# without FEATURE TEXT: what a disk shows, but for one bit.
without() {
    jq -c --argjson bit "$((1 << $1))" '.features -= $bit' <<<"$2"
}

@test "what a disk shows is the same after kill -9, and by add on another host" {
    local shown other

    need_tools jq
    start_vblkd
    add_disk vda 16M --queues 4 --seg-max 100 --geometry 100,8,32 --physical-block-size 8192
    shown=$(vblkctl show vda --shown)
    kill_vblkd
    start_vblkd
    [ "$(vblkctl show vda --shown)" = "$shown" ]
    other=$(without 29 "$shown") # as of a version without the event index
    vblkctl add vdb "$(image vdb 16M)" --as-shown "$other"
    [ "$(vblkctl show vdb --shown)" = "$other" ]
    vblkctl stop vdb
    vblkctl start vdb
    kill_vblkd
    start_vblkd
    [ "$(vblkctl show vdb --shown)" = "$other" ]
    [ "$(field vdb state)" = running ]
}

@test "what cannot be shown as elsewhere is refused by name, and nothing is added" {
    local shown

    need_tools jq
    start_vblkd
    add_disk vda 16M
    shown=$(vblkctl show vda --shown)
    run vblkctl add vdb "$(image vdb 16M)" --as-shown "$(jq -c '.features += 32768' <<<"$shown")"
    [ "$status" -eq 1 ]
    [[ "$output" = *"that this vblkd does not serve: 0x8000 (lifetime)"* ]]
    run vblkctl add vdb "$E2E_DIR/vdb.img" --incoming \
        --as-shown "$(jq -c '.features += 32768' <<<"$shown")"
    [ "$status" -eq 1 ]
    [[ "$output" = *"that this vblkd does not serve: 0x8000 (lifetime)"* ]]
    run vblkctl add vdb "$E2E_DIR/vdb.img" --as-shown "$shown" --seg-max 7
    [ "$status" -eq 2 ]
    [[ "$output" = *"does not go with"* ]]
    run vblkctl add vdb "$E2E_DIR/vdb.img" --as-shown "${shown/num_queues\":16/num_queues\":2}" --threads 3
    [ "$status" -eq 2 ]
    [[ "$output" = *"threads: 3 are more than the 2 queues"* ]]
    run vblkctl show vda --shown --json
    [ "$status" -eq 2 ]
    [ "$(vblkctl list --json | jq '.disks | length')" -eq 1 ]
}
