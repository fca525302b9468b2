# SPDX-License-Identifier: GPL-2.0-or-later
"""What is done to the daemon and its disks while they are loaded.

A deed is a function of a driver that takes its choices from `driver.random`; DEEDS says how often each
is done.  One that returns False had nothing to do it to.  Behind each all disks run, or a later deed,
or the end, makes them.
"""

import os
import shutil
import subprocess
import time

import loads
from world import MIB, Failed, wait_until

GROWS_TO = 64 * MIB  # beyond the size in the beginning


# ---- the daemon ----

def kill(driver):
    """By SIGKILL, and back."""
    driver.kill_and_start("")


def restart(driver):
    """All are served behind it: QEMU 7.2 whose back-end is killed while it connects stays without."""
    driver.world.end()
    driver.world.start()
    driver.wait_back()
    for load in driver.loads:
        for disk in load.disks:
            driver.wait_served(disk)


def upgrade(driver):
    """To the same program.  A disk that is slow may refuse."""
    if not driver.world.upgrade():
        return False
    for load in driver.loads:
        for disk in load.disks:
            driver.wait_served(disk)
    return True


def kill_twice(driver):
    """The second time while the first one's requests are tried again."""
    driver.kill_and_start("", waits=False)
    time.sleep(driver.random.uniform(0, 0.1))
    driver.kill_and_start("again")


def kill_amid(driver):
    """While something else is done, which then may or may not have happened."""
    words = driver.random.choice(COMMANDS)(driver)
    if words is None:
        return False
    command = subprocess.Popen(driver.world.words(*words), stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    time.sleep(driver.random.choice((0, 0.003, 0.01, 0.03)))
    driver.kill_and_start("amid " + " ".join(words))
    command.wait()
    return True


# ---- disks ----

def stop(driver):
    disk = driver.random.choice(driver.world.disks)
    driver.world.ctl("stop", disk.name)
    driver.rest(0.3)
    driver.world.ctl("start", disk.name)


def set_words(driver):
    """A setting that counts at once, of some disk."""
    disk = driver.random.choice(driver.world.disks)
    pick = driver.random.choice
    words = pick([f"threads={pick((1, 2, 3))}", f"iops={pick((0, 500, 5000))} iops-write=0",
                  f"bps={pick((0, 0, 4 * MIB))}", f"iops=0 iops-write={pick((0, 1000))}",
                  f"poll-us={pick((0, 20, 100))}", f"batch={pick((0, 1, 8))}",
                  f"huge-bounce={pick(('auto', 'on', 'off'))}",
                  f"detect-zeroes={pick(('off', 'on', 'unmap'))}"])
    return ["set", disk.name, *words.split()]


def setting(driver):
    driver.world.ctl(*set_words(driver))


def engine(driver):
    disk = driver.random.choice(driver.world.disks)
    driver.world.ctl("stop", disk.name)
    driver.world.ctl("set", disk.name,
                     "engine=" + driver.random.choice(("auto", "aio", "io_uring")))
    driver.world.ctl("start", disk.name)


def grow_words(driver):
    disks = [disk for disk in driver.world.disks if disk.grows]
    if not disks:
        return None
    disk = driver.random.choice(disks)
    size = os.path.getsize(disk.image)
    return ["resize", disk.name, str(size + MIB)] if size < disk.size + GROWS_TO else None


def grow(driver):
    words = grow_words(driver)
    return words is not None and driver.world.ctl(*words) is not None


def replace(driver):
    """By a copy of its image."""
    disks = [disk for disk in driver.world.disks if disk.grows]
    if not disks:
        return False
    disk = driver.random.choice(disks)
    disk.images += 1
    old, new = disk.image, f"{disk.image.rpartition('.')[0]}.{disk.images}"
    driver.world.ctl("stop", disk.name)
    shutil.copyfile(old, new)
    driver.world.ctl("replace", disk.name, new)
    disk.image = new
    driver.world.ctl("start", disk.name)
    os.unlink(old)
    return True


def stop_words(driver):
    return ["stop", driver.random.choice(driver.world.disks).name]


COMMANDS = [set_words, set_words, grow_words, stop_words]


# ---- a file system that is full ----

def fill(driver):
    """The disk pauses, may be killed like that, and goes on when there is room."""
    disk = driver.full
    if disk is None:
        return False
    load = disk.load
    driver.finish(load)
    load.start(("--rw", "discard", "--bs", "1M"), 0.5)
    load.collect()
    driver.ballast(True)
    driver.start_load(load)
    wait_until(60, f"{disk.name} pauses",
               lambda: driver.world.list()[disk.name]["iostatus"] == "nospace")
    if driver.random.random() < 0.5:
        driver.kill_and_start("full", but=disk)
    driver.ballast(False)
    driver.world.ctl("start", disk.name)
    driver.wait_served(disk)
    return True


# ---- front-ends and guests ----

def leave(driver):
    """A front-end is killed; the next one knows nothing of it."""
    found = [load for load in driver.loads if load.can_leave]
    if not found:
        return False
    load = driver.random.choice(found)
    load.leave()
    wait_until(30, f"{load.disks[0].name} has no front-end",
               lambda: driver.world.list()[load.disks[0].name]["client"] is None)
    driver.start_load(load)
    return True


def spell(driver):
    """A load ends in order, which has each block read back, and begins anew."""
    load = driver.random.choice(driver.loads)
    driver.finish(load)
    driver.start_load(load)


def guests(driver):
    return [load for load in driver.loads if isinstance(load, loads.Guest)]


def of_guest(deed):
    def done(driver):
        found = guests(driver)
        if not found:
            return False
        deed(driver, driver.random.choice(found))
        return True
    done.__name__, done.__doc__ = deed.__name__, deed.__doc__
    return done


@of_guest
def discard(driver, guest):
    """Behind what blkverify has, half of the time while the daemon is killed."""
    disk = driver.random.choice(guest.disks)
    offset = guest.size + driver.random.randrange(4) * MIB
    command = f"/bin/blkdiscard {driver.random.choice(('', '-z'))} -o {offset} -l {4 * MIB}"
    busy = subprocess.Popen(guest.agent.words(120, "run", f"{command} {guest.device(disk)}"))
    if driver.random.random() < 0.5:
        driver.kill_and_start("amid a discard")
    if busy.wait() != 0:
        raise Failed(f"{guest.name}: {command}: status {busy.returncode}")


@of_guest
def cache(driver, guest):
    disk = driver.random.choice(guest.disks)
    kind = driver.random.choice(("back", "through"))
    guest.must(f"echo write {kind} >/sys/block/{guest.device(disk)[5:]}/cache_type")


@of_guest
def pause(driver, guest):
    """All its rings stop, with requests in flight, and go on, half of the time by another daemon.
    None is killed in between: QEMU 7.2 does not notice that a back-end leaves whose rings are all
    stopped."""
    guest.qmp.command("stop")
    driver.rest(0.2)
    if driver.random.random() < 0.5 and driver.world.upgrade():
        driver.count("upgrades while a guest is paused")
    guest.qmp.command("cont")


@of_guest
def memory(driver, guest):
    """Some comes or, where its kernel gives it back, goes."""
    name = f"dimm{guest.dimms}"
    if guest.dimms == 0 or driver.random.random() < 0.3 and guest.dimms < 4:
        name = f"dimm{guest.dimms}"
        guest.qmp.command("object-add", **{"qom-type": "memory-backend-memfd", "id": f"m-{name}",
                                           "size": 128 * MIB, "share": True})
        guest.qmp.command("device_add", driver="pc-dimm", id=name, memdev=f"m-{name}")
        guest.dimms += 1
        return
    name = f"dimm{guest.dimms - 1}"
    guest.qmp.command("device_del", id=name)
    if driver.random.random() < 0.3:
        driver.kill_and_start("amid the removal of memory")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if all(row["data"]["id"] != name for row in guest.qmp.command("query-memory-devices")):
            guest.qmp.command("object-del", id=f"m-{name}")
            guest.dimms -= 1
            driver.count("memory removed")
            return
        time.sleep(0.1)


# (deed, how often)
DEEDS = [(kill, 10), (kill_twice, 3), (kill_amid, 5), (restart, 2), (upgrade, 3), (stop, 3),
         (setting, 6), (engine, 2), (grow, 3), (replace, 2), (fill, 1), (leave, 2), (spell, 2),
         (discard, 3), (cache, 1), (pause, 2), (memory, 3)]
