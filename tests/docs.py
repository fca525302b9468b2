# SPDX-License-Identifier: GPL-2.0-or-later
"""Hold programs, manual pages, README and completion against each other.  TAP.

docs.py SRCDIR BUILDDIR: the programs are BUILDDIR/vblkd, vblkctl, vblkvm and vblkbench there.
"""

import contextlib
import io
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

SRC = pathlib.Path(sys.argv[1]).resolve()
BUILD = pathlib.Path(sys.argv[2]).resolve()
VBLKD = BUILD / "vblkd"
VBLKCTL = BUILD / "vblkctl"
VBLKVM = BUILD / "vblkvm"
VBLKBENCH = BUILD / "vblkbench"
PATIENCE = 60


class Skip(Exception):
    """The reason why a test cannot be made."""


# ---- manual pages ----


def plain(text):
    """POD text without its formatting codes."""
    text = re.sub(r"L<([^<>|]*)>", r"\1", text)
    while re.search(r"[BCFIS]<[^<>]*>", text):
        text = re.sub(r"[BCFIS]<([^<>]*)>", r"\1", text)
    text = text.replace("E<gt>", ">").replace("E<lt>", "<")
    return re.sub(r"\s+", " ", text).strip()


def codes(text):
    """What stands in C<...>."""
    return set(re.findall(r"C<([^<>]*)>", text))


class Section:
    """What follows a heading, up to the next: items with their text, and verbatim blocks."""

    def __init__(self, title):
        self.title = title
        self.items = []  # [item, text]
        self.raw = ""
        self.verbatim = []


class Page:
    def __init__(self, path):
        self.path = path
        self.name, self.number, _ = path.name.rsplit(".", 2)
        self.raw = path.read_text()
        self.sections = []  # [head1, head2 or "", Section]
        head1 = ""
        for paragraph in re.split(r"\n{2,}", self.raw.strip("\n")):
            kind, _, rest = paragraph.partition(" ")
            if kind == "=head1":
                head1 = plain(rest)
                self.sections.append((head1, "", Section(head1)))
            elif kind == "=head2":
                self.sections.append((head1, plain(rest), Section(plain(rest))))
            else:
                self.add(self.sections[-1][2], paragraph, kind, rest)

    @staticmethod
    def add(section, paragraph, kind, rest):
        if paragraph.startswith(" "):
            section.verbatim.append(paragraph)
        elif kind == "=item":
            section.items.append([rest, ""])
        elif not paragraph.startswith("="):
            if section.items:
                section.items[-1][1] += "\n" + paragraph
        section.raw += "\n" + paragraph

    def section(self, head1, head2=""):
        for first, second, section in self.sections:
            if first == head1 and second == head2:
                return section
        raise AssertionError(f"{self.path.name} has no section {head1} {head2}")

    def subsections(self, head1):
        return [s for first, second, s in self.sections if first == head1 and second]


PAGES = {p.name: Page(p) for p in sorted((SRC / "man").glob("*.pod"))}
VBLKD_PAGE = PAGES["vblkd.8.pod"]
VBLKCTL_PAGE = PAGES["vblkctl.1.pod"]
PROTOCOL_PAGE = PAGES["vblkd-protocol.7.pod"]
VBLKVM_PAGE = PAGES["vblkvm.1.pod"]
VBLKBENCH_PAGE = PAGES["vblkbench.1.pod"]
PERFORMANCE_PAGE = PAGES["vblk-performance.7.pod"]


# ---- programs ----


def output(*words):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, f"{words}: status {done.returncode}: {done.stderr}"
    return done.stdout


def help_lines(text, title=None):
    """{"--size SIZE": "what it is"} of the lines below `title`."""
    lines, inside = {}, title is None
    for line in text.splitlines():
        if title and not line.startswith(" "):
            inside = line == title + ":"
        found = re.match(r"  (\S+(?: [A-Z]+)?)  +(\S.*)", line)
        if inside and found:
            lines[found[1]] = found[2]
    return lines


def options_of(items):
    return {plain(item): plain(text) for item, text in items if plain(item).startswith("--")}


def same(what, left_name, left, right_name, right):
    left, right = set(left), set(right)
    assert left == right, (
        f"{what}: only {left_name} knows {sorted(left - right)}, "
        f"only {right_name} {sorted(right - left)}")


GLOBALS = {}
COMMANDS = {}  # name: text of its help


def read_help():
    text = output(VBLKCTL, "--help")
    GLOBALS.update(help_lines(text, "Options"))
    for command in help_lines(text, "Commands"):
        COMMANDS[command] = output(VBLKCTL, command, "--help")


class Daemon:
    """A private vblkd."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="vblk-docs.", dir="/tmp")
        self.control = self.dir + "/control.sock"
        self.last_id = 0
        self.process = subprocess.Popen(
            [VBLKD, "--control", self.control, "--socket-dir", self.dir, "--state-dir",
             self.dir + "/state", "--log-level", "error"], stdin=subprocess.DEVNULL)
        self.socket = self.connect()
        self.lines = self.socket.makefile("r", encoding="utf-8")

    def connect(self):
        end = time.monotonic() + PATIENCE
        while True:
            sock = socket.socket(socket.AF_UNIX)
            try:
                sock.connect(self.control)
                return sock
            except OSError:
                sock.close()
                assert self.process.poll() is None, "vblkd has ended"
                assert time.monotonic() < end, "vblkd does not listen"
                time.sleep(0.02)

    def call(self, method, **params):
        self.last_id += 1
        request = {"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params}
        self.socket.sendall(json.dumps(request).encode() + b"\n")
        answer = json.loads(self.lines.readline())
        assert "result" in answer, answer
        return answer["result"]

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = "none"
        shutil.rmtree(self.dir, ignore_errors=True)
        assert status == 0, f"vblkd ended with status {status}"


DAEMON = None


# ---- vblkd and vblkctl ----


def test_options_of_vblkd():
    """vblkd(8) and vblkd --help have the same options"""
    same("vblkd", "--help", help_lines(output(VBLKD, "--help")),
         "the page", options_of(VBLKD_PAGE.section("OPTIONS").items))


def test_global_options():
    """vblkctl(1) and vblkctl --help have the same global options"""
    same("vblkctl", "--help", GLOBALS,
         "the page", options_of(VBLKCTL_PAGE.section("GLOBAL OPTIONS").items))


def test_commands():
    """vblkctl(1) and vblkctl --help have the same commands"""
    same("vblkctl", "--help", COMMANDS, "the page",
         [s.title.split()[0] for s in VBLKCTL_PAGE.subsections("COMMANDS")])


def section_of(command):
    for section in VBLKCTL_PAGE.subsections("COMMANDS"):
        if section.title.split()[0] == command:
            return section
    raise AssertionError(f"vblkctl(1) does not have {command}")


def own_options(command):
    lines = help_lines(COMMANDS[command], "Options")
    return {option: text for option, text in lines.items() if option not in GLOBALS}


def test_options_of_commands():
    """vblkctl(1) and vblkctl COMMAND --help have the same options"""
    for command in COMMANDS:
        same(command, "--help", own_options(command),
             "the page", options_of(section_of(command).items))


def test_operands():
    """vblkctl(1) and vblkctl COMMAND --help have the same operands"""
    for command, text in COMMANDS.items():
        usage = text.splitlines()[0].replace("Usage: vblkctl ", "").replace(" [OPTION]...", "")
        title = re.sub(r" \[(--[^]]*|OPTION)\](\.\.\.)?", "", section_of(command).title)
        assert usage == title, f'--help says "{usage}", the page "{title}"'


def test_options_in_titles():
    """options in the titles of vblkctl(1) are all that the command has"""
    for command in COMMANDS:
        title = section_of(command).title
        if "[OPTION]" not in title:
            same(command, "--help", own_options(command), "the title",
                 re.findall(r"\[(--[^]]*)\]", title))


def test_defaults():
    """defaults and ranges of --help are those of the pages"""
    for command in COMMANDS:
        texts = options_of(section_of(command).items)
        for option, text in own_options(command).items():
            for default in re.findall(r"\[([a-z0-9]+)\]", text):
                assert f"Default: {default}." in texts[option], f"{command} {option}: {default}"
            for low, high in re.findall(r"\b(\d+)-(\d+)\b", text):
                assert f"{low} to {high}" in texts[option], f"{command} {option}: {low}-{high}"


def option_of(path):
    """image.size is the option --size, poll_us --poll-us"""
    return path.rpartition(".")[2].replace("_", "-")


def test_settings():
    """settings are the same in set --help, in vblkctl(1), in add and in the daemon"""
    settings = help_lines(COMMANDS["set"], "Settings")
    same("set", "--help", settings,
         "the page", [plain(item) for item, _ in section_of("set").items])
    add = own_options("add")
    for setting, text in settings.items():
        option = "--" + setting.replace("=", " ")
        assert add.get(option) == text, f"{setting}: add --help has {add.get(option)}"
    methods = {m["name"]: m["params"] for m in DAEMON.call("daemon.methods")["methods"]}
    defaults = {path: param["default"] for path, param in flat(methods["disk.add"])
                if "default" in param}
    known = {path: param for path, param in flat(methods["disk.set"])
             if path != "name" and "members" not in param}
    for path, param in known.items():
        if "min" in param and f"--{option_of(path)} SIZE" not in add:
            wanted = f"{param['min']}-{param['max']} [{defaults[path]}]"
            assert wanted in add[f"--{option_of(path)} N"], f"{path}: the daemon has {wanted}"
    same("settings", "--help", [s.partition("=")[0] for s in settings],
         "the daemon", [option_of(path) for path in known])


def test_params_of_add():
    """each parameter of disk.add is an operand or an option of add, or a word of the image"""
    methods = {m["name"]: m["params"] for m in DAEMON.call("daemon.methods")["methods"]}
    options = {option.split()[0] for option in own_options("add")}
    operands = help_lines(COMMANDS["add"], "Operands")
    page = "".join(plain(item) + " " + plain(text) for item, text in section_of("add").items
                   if plain(item).startswith("null:"))
    assert page, "the page is written otherwise than this test expects"
    known = set()
    for path, param in flat(methods["disk.add"]):
        option = option_of(path)
        if path == "image.type":  # what is said in no operand
            known |= {f"--{kind}" for kind in param["values"][1:]
                      if f"{kind}:" not in operands["IMAGE"]}
        if param.get("members") or path in ("name", "image.type", "image.path"):
            continue
        if "--" + option in options:
            known.add("--" + option)
            continue
        assert f",{option}=" in operands["IMAGE"], f"vblkctl does not have {path}"
        assert f",{option}=" in page, f"vblkctl(1) does not have {path}"
        has_range = "min" not in param or f"{param['min']} to {param['max']}" in page
        assert has_range, f"vblkctl(1): {path}"
    same("add", "--help", options, "the daemon", known)


def test_since():
    """each option says since when it is there"""
    for page, head in (VBLKD_PAGE, "OPTIONS"), (VBLKCTL_PAGE, "GLOBAL OPTIONS"), \
            (VBLKCTL_PAGE, "COMMANDS"), (VBLKVM_PAGE, "OPTIONS"), (VBLKBENCH_PAGE, "OPTIONS"):
        for first, _, section in page.sections:
            for option, text in options_of(section.items).items() if first == head else ():
                assert re.search(r"Since \d+\.\d+\.\d+\.", text), f"{page.name}: {option}"


# ---- vblkvm ----


def vblkvm_words():
    """{"transport": (values, default)}: what --help has of the words after a disk's name."""
    found = re.findall(r"^ +,(\w+)=(\S+) \[([^]]+)\]", output(VBLKVM, "--help"), re.M)
    return {key: (values.split("|"), default) for key, values, default in found}


def vblkvm_items():
    """{"transport": (codes, text)}: what the page has of them."""
    found = {}
    for item, text in VBLKVM_PAGE.section("OPTIONS").items:
        match = re.fullmatch(r",(\w+)=\w+", plain(item))
        if match:
            found[match[1]] = (codes(text), plain(text))
    return found


def test_options_of_vblkvm():
    """vblkvm(1) and vblkvm --help have the same options"""
    same("vblkvm", "--help", help_lines(output(VBLKVM, "--help")),
         "the page", options_of(VBLKVM_PAGE.section("OPTIONS").items))


def test_words_of_vblkvm():
    """vblkvm(1) and vblkvm --help have the same words for a disk"""
    words, items = vblkvm_words(), vblkvm_items()
    assert "transport" in words, "--help is written otherwise than this test expects"
    same("--disk", "--help", words, "the page", items)
    for key, (values, default) in words.items():
        known, text = items[key]
        if len(values) > 1:
            same(key, "--help", values, "the page", known)
        assert f"Default: {default}" in text, f"{key}: {default}"
        assert re.search(r"Since \d+\.\d+\.\d+\.", text), key


def check_defaults(program, page):
    texts = options_of(page.section("OPTIONS").items)
    help_text = re.sub(r"\n {15,}", " ", output(program, "--help"))
    for option, text in help_lines(help_text).items():
        for default in re.findall(r"\[([^]]+)\]", text.split(" ,")[0]):
            assert f"Default: {default}." in texts[option], f"{option}: {default}"
        for low, high in re.findall(r"\b(\d+) to (\d+)\b", text):
            assert f"{low} to {high}" in texts[option], f"{option}: {low} to {high}"


def test_defaults_of_vblkvm():
    """defaults and ranges of vblkvm --help are those of vblkvm(1)"""
    check_defaults(VBLKVM, VBLKVM_PAGE)


def test_limits_of_vblkvm():
    """vblkvm(1) has the limits of the source"""
    text = "".join(p.read_text() for p in (SRC / "cmd/vm").glob("*.h"))
    disks, cpus, mmio = (re.search(rf"#define {name} (\d+)", text)[1]
                         for name in ("VM_DISKS_MAX", "VM_CPUS_MAX", "LAYOUT_MMIO_MAX"))
    texts = options_of(VBLKVM_PAGE.section("OPTIONS").items)
    assert f"at most {disks}, of them at most {mmio} by virtio-mmio" in texts["--disk DISK"]
    assert f"1 to {cpus}." in texts["--cpus N"]


def test_exit_kinds():
    """vblkvm(1) has all that --exit-stats prints"""
    names = re.findall(r'\[VCPU_EXIT_\w+\] = "(\w+)"', (SRC / "cmd/vm/vcpu.c").read_text())
    assert len(names) > 3, "the source is written otherwise than this test expects"
    items = [plain(item) for item, _ in VBLKVM_PAGE.section("EXIT STATISTICS").items]
    same("--exit-stats", "the source", [f"exits {name}" for name in names + ["notify DISK"]],
         "the page", items)


# ---- protocol ----


def method_section(name):
    return PROTOCOL_PAGE.section("METHODS", name)


def flat(params):
    for param in params:
        yield param["name"], param
        for name, member in flat(param.get("members", [])):
            yield param["name"] + "." + name, member


def documented_params(section):
    """{name: what stands in parentheses}; members of results have none."""
    found = {}
    for item, _ in section.items:
        match = re.fullmatch(r"([\w.]+) \(((?:string|integer|boolean|object).*)\)", plain(item))
        if match:
            found[match[1]] = match[2]
    return found


def described(param):
    """The text in parentheses that the daemon's own table asks for."""
    text = param["type"]
    values = ", ".join(param.get("values", []))
    if param["required"]:
        return text + ", required" + (": " + values if values else "")
    if values:
        return f"{text}: {values}" + (f"; default {param['default']}" if "default" in param else "")
    if "min" in param:
        text += f", {param['min']} to {param['max']}"
    if "default" in param:
        text += f", default {json.dumps(param['default'])}"
    return text


def test_methods():
    """vblkd-protocol(7) and the daemon have the same methods"""
    same("methods", "the daemon", [m["name"] for m in DAEMON.call("daemon.methods")["methods"]],
         "the page", [s.title for s in PROTOCOL_PAGE.subsections("METHODS")])


def test_params():
    """vblkd-protocol(7) and the daemon have the same parameters, types, ranges, defaults"""
    for method in DAEMON.call("daemon.methods")["methods"]:
        documented = documented_params(method_section(method["name"]))
        params = dict(flat(method["params"]))
        same(method["name"], "the daemon", params, "the page", documented)
        for name, param in params.items():
            assert described(param) == documented[name], (
                f'{method["name"]} {name}: the daemon has "{described(param)}", '
                f'the page "{documented[name]}"')


def members(value, path=""):
    """Paths of all members of an answer."""
    if isinstance(value, list):
        for element in value:
            yield from members(element, path)
    elif isinstance(value, dict):
        for name, inner in value.items():
            here = f"{path}.{name}" if path else name
            yield here
            yield from members(inner, here)


def knows(section, path):
    """Is it there with its path, or by its name in the text about what it is in?"""
    known = codes(section.raw)
    if path in known:
        return True
    parent, _, name = path.rpartition(".")
    return parent and name in known and parent in known


def test_results():
    """vblkd-protocol(7) has every member of the daemon's answers"""
    front_end = socket.socket(socket.AF_UNIX)
    front_end.connect(DAEMON.dir + "/docs.sock")
    answers = (
        ("disk.show", DAEMON.call("disk.show", name="docs")),
        ("disk.show", DAEMON.call("disk.list")["disks"]),
        ("disk.show", DAEMON.call("disk.show", name="file")),
        ("disk.stats", DAEMON.call("disk.stats", name="docs")),
        ("disk.start", {"changed": DAEMON.call("disk.start", name="docs")["changed"]}),
        ("disk.stop", {"changed": DAEMON.call("disk.stop", name="docs")["changed"]}),
        ("disk.set", {"changed": DAEMON.call("disk.set", name="docs", engine="auto")["changed"]}),
        ("daemon.ping", DAEMON.call("daemon.ping")),
        ("daemon.version", DAEMON.call("daemon.version")),
        ("daemon.methods", {"methods": DAEMON.call("daemon.methods")["methods"]}),
    )
    front_end.close()
    for method, answer in answers:
        for path in members(answer):
            if method == "daemon.methods":
                path = path.rpartition(".")[2]
            assert knows(method_section(method), path), f"{method}: {path} is not documented"


def test_result_names_of_source():
    """vblkd-protocol(7) has every member that the source can put into an answer"""
    text = (SRC / "daemon/disk_json.c").read_text()
    names = set(re.findall(r'\bset(?:_integer)?\(\w+, "(\w+)"', text))
    assert len(names) > 30, "the source is written otherwise than this test expects"
    text = (SRC / "daemon/disk_warnings.c").read_text()
    warnings = set(re.findall(r'\badd\(list, "(\w+)"', text))
    assert warnings, "the source is written otherwise than this test expects"
    names |= warnings
    known = codes(PROTOCOL_PAGE.raw)
    known |= {code.rpartition(".")[2] for code in known}
    assert names <= known, f"not documented: {sorted(names - known)}"


def test_documented_results():
    """the source has every member of results that vblkd-protocol(7) has"""
    source = "".join(p.read_text() for p in (SRC / "daemon").glob("*.c"))
    for path in ("core/block/image_opts.c", "core/block/image_type.c", "core/block/error_policy.c",
                 "core/base/stats.c", "cmd/vblkctl.c"):
        source += (SRC / path).read_text()
    for section in PROTOCOL_PAGE.subsections("METHODS"):
        params = documented_params(section)
        for item, text in section.items:
            for code in codes(item) | {c for c in codes(text) if re.fullmatch(r"\w+\.\w+", c)}:
                name = code.rpartition(".")[2]
                if code not in params and re.fullmatch(r"[a-z_]+", name):
                    assert f'"{name}"' in source, f"{section.title}: {code} is in no answer"


def numbers_of_protocol():
    text = (SRC / "daemon/protocol.h").read_text()
    found = dict(re.findall(r"#define (\w+) \(?([-\w< ]+?)\)?\n", text))
    return {name: eval(value.replace("u", "")) for name, value in found.items()}


def test_error_codes():
    """vblkd-protocol(7) has the error codes of the daemon"""
    codes_of_source = {str(v) for k, v in numbers_of_protocol().items() if k.startswith("RPC_")}
    items = PROTOCOL_PAGE.section("DESCRIPTION", "Errors").items
    same("codes", "protocol.h", codes_of_source, "the page", [plain(item) for item, _ in items])


def test_limits():
    """vblkd-protocol(7) has the limits of the daemon"""
    numbers = numbers_of_protocol()
    limits = plain(PROTOCOL_PAGE.section("DESCRIPTION", "Limits").raw)
    for name in "LINE_MAX", "CLIENTS_MAX", "GUESTS_MAX", "READERS_MAX", "CALLS_MAX", "BACKLOG_MAX":
        assert re.search(rf"\b{numbers['PROTOCOL_' + name]}\b", limits), name
    assert f"within {numbers['PROTOCOL_INFO_MS']} ms" in plain(method_section("disk.list").raw)
    assert f"after {numbers['PROTOCOL_OPEN_MS'] // 1000} s" in plain(method_section("disk.add").raw)
    assert f"after {numbers['PROTOCOL_SET_MS'] // 1000} s" in plain(method_section("disk.set").raw)
    assert f"within {numbers['PROTOCOL_MOVE_MS'] // 1000} s" in plain(method_section("disk.set").raw)
    assert f"version {numbers['PROTOCOL_VERSION']} of" in plain(
        PROTOCOL_PAGE.section("DESCRIPTION").raw)


def test_python_example():
    """the client of vblkd-protocol(7) works"""
    block = [v for v in PROTOCOL_PAGE.section("EXAMPLES").verbatim if "import json" in v]
    assert block, "there is no example"
    page = PROTOCOL_PAGE.raw
    begin = page.index(block[0])
    text = page[begin:page.index("\n=", begin)]
    text = "\n".join(line[2:] for line in text.splitlines())
    text = text.replace("/run/vblk/control.sock", DAEMON.control)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(text, "vblkd-protocol(7)", "exec"), {})
    assert re.search(r"^docs (running|stopped) 0$", printed.getvalue(), re.M), printed.getvalue()


def test_aio_slots():
    """vblkd(8) and vblkd-internals(7) have the number of AIO slots that a disk takes"""
    source = (SRC / "daemon/plane_image.c").read_text()
    slots = re.search(r"#define MAX_INFLIGHT (\d+)", source)[1]
    assert f"at most {slots}," in plain(VBLKD_PAGE.section("IMAGES").raw)
    assert f"At most {slots} are taken" in plain(PAGES["vblkd-internals.7.pod"].raw)


# ---- what is installed ----


def makefiles():
    paths = [SRC / "Makefile.am", *sorted(SRC.glob("**/local.mk"))]
    return "\n".join(path.read_text() for path in paths)


def makefile_words(name):
    text = makefiles().replace("\\\n", " ")
    return re.findall(rf"^{name} \+?= *(.*)$", text, re.M)[0].split()


def test_programs_have_pages():
    """each installed program has a page, and the other way round"""
    programs = makefile_words("bin_PROGRAMS") + makefile_words("sbin_PROGRAMS")
    same("programs", "Makefile.am", programs,
         "man/", [p.name for p in PAGES.values() if p.number in "18"])


def test_pages_are_installed():
    """each page is installed and in the tarball"""
    pods = ["man/" + name for name in PAGES]
    installed = makefile_words("dist_man_MANS")
    same("pages", "dist_man_MANS", [name + ".pod" for name in installed], "man/", pods)
    text = makefiles()
    assert all(name in text for name in pods), "a page is not in EXTRA_DIST"


def test_example_filter():
    """the filter of vblkd-images(7) is the one that the tests run"""
    page = "".join(block + "\n" for block in PAGES["vblkd-images.7.pod"].section("A FILTER").verbatim)
    shown = [line.strip() for line in page.splitlines() if line.strip()]
    for name in "node_count.h", "node_count.c":
        text = (SRC / "tests/unit" / name).read_text().replace("#pragma once\n", "")
        for line in text.splitlines()[1:]:
            assert not line.strip() or line.strip() in shown, f"{name}: {line}"


def test_form():
    """each page has the sections that it should have"""
    for page in PAGES.values():
        heads = [first for first, second, _ in page.sections if not second]
        wanted = ["NAME", "DESCRIPTION", "SEE ALSO"]
        if page.number in "18":
            wanted += ["SYNOPSIS", "EXIT STATUS", "FILES", "SECURITY"]
        missing = [head for head in wanted if head not in heads]
        assert not missing, f"{page.path.name}: {missing}"
        assert plain(page.section("NAME").raw).startswith(page.name + " - "), page.path.name


def test_items():
    """nothing in the title of an item has quotes that are not to be typed"""
    for page in PAGES.values():
        for _, _, section in page.sections:
            for item, _ in section.items:
                # man(1) shows C<> in quotes: a word of its own may have them.
                quoted = re.search(r"C<[^<>]*>[\w\[]|[\w\]>:=]C<|C<[^<>]*>[A-Z]<", item)
                assert not quoted, f"{page.path.name}: {item}"


def test_links():
    """pages refer to pages and sections that are there"""
    names = {f"{p.name}({p.number})" for p in PAGES.values()}
    for page in PAGES.values():
        for link in re.findall(r"L<(vblk[^<>]*)>", page.raw):
            assert link in names, f"{page.path.name}: {link}"
        titles = [first for first, _, _ in page.sections] + [s.title for _, _, s in page.sections]
        for link in re.findall(r"L</([^<>]*)>", page.raw):
            assert link in titles, f"{page.path.name}: {link}"


def test_version():
    """built pages and the change log are of this version"""
    version = output(VBLKD, "--version").split()[1]
    assert f"[{version}]" in (SRC / "CHANGELOG.md").read_text(), "CHANGELOG.md"
    for program in VBLKCTL, VBLKVM, VBLKBENCH:
        assert output(program, "--version").split()[1] == version, program.name
    for page in PAGES.values():
        for tree in BUILD, SRC:
            built = tree / "man" / page.path.stem
            if built.exists():
                assert f"vblk {version}" in built.read_text(), built
                break
        else:
            raise Skip("the pages are not built: no pod2man")


def command_lines():
    """(where, words) of lines in examples that begin with one of our programs."""
    for page in PAGES.values():
        for _, _, section in page.sections:
            for block in section.verbatim:
                for line in block.replace("\\\n", "").splitlines():
                    yield page.path.name, line.split()
    for line in (SRC / "README.md").read_text().replace("\\\n", "").splitlines():
        if line.startswith("    "):
            yield "README.md", line.split()


def test_examples():
    """commands and options of the examples are there"""
    counted = 0
    options = {program.name: {o.split()[0] for o in help_lines(output(program, "--help"))}
               for program in (VBLKD, VBLKVM, VBLKBENCH)}
    global_options = {o.split()[0] for o in GLOBALS}
    for where, words in command_lines():
        if not words or words[0] not in ("vblkd", "vblkctl", "vblkvm", "vblkbench"):
            continue
        words = words[:words.index("#")] if "#" in words else words
        known = options.get(words[0])
        if words[0] == "vblkctl":
            command = next(w for w in words[1:] if not w.startswith("-"))
            assert command in COMMANDS, f"{where}: {words}"
            known = global_options | {o.split()[0] for o in own_options(command)}
        for word in words[1:]:
            assert not word.startswith("--") or word in known, f"{where}: {word} in {words}"
        counted += 1
    assert counted > 15, f"only {counted} examples found"


def test_packages():
    """the README installs the packages that scripts/deps has for building"""
    deps = SRC / "scripts/deps"
    if not deps.exists():
        raise Skip("there is no scripts/deps")
    wanted = re.search(r"^build=\(([^)]*)\)", deps.read_text(), re.M)[1].split()
    readme = (SRC / "README.md").read_text().replace("\\\n", " ")
    same("packages", "scripts/deps", wanted, "README.md",
         re.search(r"^    apt-get install (.*)$", readme, re.M)[1].split())


# ---- vblkbench ----


def test_options_of_vblkbench():
    """vblkbench(1) and vblkbench --help have the same options"""
    same("vblkbench", "--help", help_lines(output(VBLKBENCH, "--help")),
         "the page", options_of(VBLKBENCH_PAGE.section("OPTIONS").items))


def test_defaults_of_vblkbench():
    """defaults and ranges of vblkbench --help are those of vblkbench(1)"""
    check_defaults(VBLKBENCH, VBLKBENCH_PAGE)


def vblkbench_workloads():
    return help_lines(output(VBLKBENCH, "--help"))["--rw WHAT"].split("|")


def test_workloads_of_vblkbench():
    """vblkbench(1) and vblkbench --help have the same workloads"""
    listed = [line.split()[0] for block in VBLKBENCH_PAGE.section("OPTIONS").verbatim
              for line in block.splitlines()]
    same("--rw", "--help", vblkbench_workloads(), "the page", listed)


def test_json_of_vblkbench():
    """vblkbench(1) has the members that vblkbench --json prints"""
    DAEMON.call("disk.add", name="bench", image={"type": "null", "size": 1 << 20})
    told = json.loads(output(VBLKBENCH, "--control", DAEMON.control, "bench", "--json",
                             "--runtime", "0.01"))
    DAEMON.call("disk.remove", name="bench", force=True)  # it may not have seen the end yet
    items = VBLKBENCH_PAGE.section("OUTPUT").items
    same("--json", "it prints", told, "the page",
         [code for item, _ in items for code in re.findall(r"C<([^<>]*)>", item)])
    texts = {plain(item): codes(text) for item, text in items}
    same("latency_ns", "it prints", told["latency_ns"], "the page", texts["latency_ns"])


# ---- performance ----


def test_options_of_compare():
    """vblk-performance(7) and tests/bench/compare --help have the same options"""
    told = output(SRC / "tests/bench/compare", "--help")
    items = PERFORMANCE_PAGE.section("HOW TO MEASURE", "Everything, beside its peers").items
    same("compare", "--help", re.findall(r"^  (?:-h, )?(--[a-z-]+)", told, re.M), "the page",
         [option for item, _ in items for option in re.findall(r"--[a-z-]+", item)])


def test_settings_of_performance():
    """vblk-performance(7) explains every setting of vblkctl set"""
    settings = {line.split("=")[0] for line in help_lines(COMMANDS["set"], "Settings")}
    assert "engine" in settings, "--help is written otherwise than this test expects"
    told = {name for item, _ in PERFORMANCE_PAGE.section("SETTINGS").items for name in codes(item)}
    assert settings <= told, f"not on the page: {sorted(settings - told)}"


# ---- completion ----

COMPLETE = """
complete() { [ "$1" != -F ] || function=$2; }
compopt() { $compopt "$@"; }
. "$1"
compopt=$2
program=$3
shift 3
COMP_WORDS=("$program" "$@")
COMP_CWORD=$#
"$function" "$program" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


def completion(*words, program=VBLKCTL, compopt=":"):
    script = SRC / "cmd" / (program.name + ".bash")
    if not script.exists():
        raise Skip("there is no completion")
    if not shutil.which("bash"):
        raise Skip("needs bash")
    return output("bash", "-c", COMPLETE, "complete", script, compopt, program,
                  *words).split()


def test_completion_commands():
    """the completion knows the same commands"""
    same("commands", "--help", COMMANDS, "completion", completion(""))
    same("global options", "--help", [o.split()[0] for o in GLOBALS],
         "completion", completion("--"))


def test_completion_options():
    """the completion knows the same options"""
    for command, text in COMMANDS.items():
        options = [o.split()[0] for o in help_lines(text, "Options")]
        same(command, "--help", options, "completion", completion(command, "--"))


def test_completion_flags():
    """the completion knows which options have no value"""
    for command, text in COMMANDS.items():
        for option in help_lines(text, "Options"):
            words = completion(command, option.split()[0], "--")
            assert bool(words) == (" " not in option), f"{command} {option}: {words}"
    for flag in (option for option in GLOBALS if " " not in option):
        same(flag, "--help", COMMANDS, "completion", completion(flag, ""))


def test_completion_values():
    """the completion knows the values of options and settings, and paths"""
    methods = {m["name"]: m["params"] for m in DAEMON.call("daemon.methods")["methods"]}
    for path, param in flat(methods["disk.add"]):
        option = option_of(path)
        if f"--{option} " in COMMANDS["add"] and option != "socket" and param["type"] != "boolean":
            same(option, "the daemon", param.get("values", []),
                 "completion", completion("add", "--" + option, ""))
    for param in methods["disk.set"]:
        if param["name"] != "name":
            same(param["name"], "the daemon", param.get("values", []), "completion",
                 completion("set", "docs", param["name"].replace("_", "-"), "=", ""))
    for words in ("--control",), ("--control", "="), ("add", "--socket"):
        same(words, "this directory", [DAEMON.dir + "/image"],
             "completion", completion(*words, DAEMON.dir + "/im"))


def test_completion_images():
    """the completion knows the types of images, which a space must not follow"""
    same("IMAGE", "--help", ["null:"], "completion", completion("add", "a", "nul"))
    assert "nospace" in completion("add", "a", "nul", compopt="echo"), "a space follows null:"
    assert "nospace" not in completion("add", "a", DAEMON.dir + "/im", compopt="echo")


def test_completion_settings():
    """the completion knows the same settings, and offers each of them once"""
    settings = [s.partition("=")[0] + "=" for s in help_lines(COMMANDS["set"], "Settings")]
    same("settings", "--help", settings, "completion", completion("set", "docs", ""))
    for first in settings:
        for pair in (first + "1",), (first[:-1], "=", "1"):
            same(f"settings after {pair}", "--help", set(settings) - {first},
                 "completion", completion("--control", "=", "x", "set", "docs", *pair, ""))


def test_completion_disks():
    """the completion knows the disks"""
    same("disks", "the daemon", ["docs", "file"],
         "completion", completion("--control", DAEMON.control, "show", ""))


def test_completion_vblkvm():
    """the completion of vblkvm knows the same options, and which of them have no value"""
    options = [o.split()[0] for o in help_lines(output(VBLKVM, "--help"))]
    same("vblkvm", "--help", options, "completion", completion("--", program=VBLKVM))
    for option in help_lines(output(VBLKVM, "--help")):
        words = completion(*option.split()[:1], "--", program=VBLKVM)
        assert bool(words) == (" " not in option), f"{option}: {words}"


def test_completion_vblkvm_disks():
    """the completion of vblkvm knows the disks and what may follow them"""
    words = "--control", DAEMON.control, "--disk"
    same("disks", "the daemon", ["docs", "file"],
         "completion", completion(*words, "", program=VBLKVM))
    same("words", "--help", [f"docs,{key}=" for key in vblkvm_words()],
         "completion", completion("--disk", "docs,", program=VBLKVM))
    for key, (values, _) in vblkvm_words().items():
        same(key, "--help", values if len(values) > 1 else [],
             "completion", completion("--disk", f"docs,{key}", "=", program=VBLKVM))


def test_completion_vblkbench():
    """the completion of vblkbench knows the same options, workloads and disks"""
    options = help_lines(output(VBLKBENCH, "--help"))
    same("vblkbench", "--help", [o.split()[0] for o in options],
         "completion", completion("--", program=VBLKBENCH))
    for option in options:
        words = completion(*option.split()[:1], "--", program=VBLKBENCH)
        assert bool(words) == (" " not in option), f"{option}: {words}"
    same("--rw", "--help", vblkbench_workloads(),
         "completion", completion("--rw", "", program=VBLKBENCH))
    same("disks", "the daemon", ["docs", "file"],
         "completion", completion("--control", DAEMON.control, "", program=VBLKBENCH))


def run(number, name, test):
    try:
        test()
        print(f"ok {number} - {name}", flush=True)
    except Skip as reason:
        print(f"ok {number} - {name} # SKIP {reason}", flush=True)
    except Exception as error:  # whatever it is, the test has failed
        print(f"not ok {number} - {name}")
        print(f"# {type(error).__name__}: {error}", flush=True)


def main():
    global DAEMON
    tests = [value for name, value in globals().items() if name.startswith("test_")]
    print(f"1..{len(tests) + 1}")
    read_help()
    DAEMON = Daemon()
    try:
        DAEMON.call("disk.add", name="docs", image={"type": "null", "size": 1 << 30})
        DAEMON.call("disk.add", name="file", image={
            "type": "file", "path": DAEMON.dir + "/image", "size": 1 << 20, "create": True,
            "cache": "writeback"})
        for number, test in enumerate(tests, 1):
            run(number, test.__doc__, test)
    finally:
        run(len(tests) + 1, "the daemon of these tests ends in order", DAEMON.end)


main()
