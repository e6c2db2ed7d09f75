"""What deploy/ starts is what the code takes; no engine is needed to see that."""

from __future__ import annotations

import ast
import http.server
import json
import re
import shlex
import shutil
import subprocess
import sys
import threading
from configparser import ConfigParser
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from recsys.runs.load import compose
from recsys.runs.spec import MakeKey, Serving
from recsys.serve.spec import LOOPBACK, Serve

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
IMPORTED = """
import sys
import recsys.runs.cli, recsys.runs.key, recsys.runs.load, recsys.runs.serve
print(*{name.partition(".")[0] for name in sys.modules})
"""


def text(name: str) -> str:
    return (DEPLOY / name).read_text(encoding="utf-8")


def parsed(name: str) -> dict[str, Any]:
    said: dict[str, Any] = yaml.safe_load(text(name))
    return said


def instructions() -> list[tuple[str, str]]:
    """Instruction and the rest of its line, of each line of the Dockerfile."""
    whole = re.sub(r"\\\n", " ", text("Dockerfile"))
    lines = [line for line in whole.splitlines() if line and not line.startswith("#")]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def of(word: str) -> list[str]:
    return [rest for instruction, rest in instructions() if instruction == word]


def unit() -> ConfigParser:
    read = ConfigParser(strict=False, interpolation=None)
    read.optionxform = str  # type: ignore[assignment,method-assign]  # names of systemd keep their case
    read.read(DEPLOY / "recsys.service")
    return read


def serving(words: list[str]) -> Serve:
    found = compose("serve", Serving, words)
    assert isinstance(found, Serving)
    return found.serve


def test_the_image_has_known_instructions_in_their_order() -> None:
    names = [name for name, _ in instructions()]
    known = {
        "FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "VOLUME", "EXPOSE", "STOPSIGNAL",
        "HEALTHCHECK", "ENTRYPOINT", "CMD",
    }  # fmt: skip
    assert set(names) == known
    assert names[0] == "FROM"
    last = names[len(names) - names[::-1].index("FROM") :]
    order = ["RUN", "COPY", "USER", "VOLUME", "HEALTHCHECK", "ENTRYPOINT", "CMD"]
    assert [last.index(name) for name in order] == sorted(last.index(name) for name in order)
    assert last.count("USER") == last.count("ENTRYPOINT") == last.count("CMD") == 1
    assert "RUN" not in last[last.index("USER") :]
    assert int(of("USER")[0].partition(":")[0]) > 0


def test_what_the_image_copies_is_there_and_let_through() -> None:
    let = {line[1:] for line in text("Dockerfile.dockerignore").splitlines() if line[0] == "!"}
    copied = [rest.split()[:-1] for rest in of("COPY") if not rest.startswith("--from")]
    sources = [source for words in copied for source in words]
    assert sources
    for source in sources:
        assert (ROOT / source).exists()
        assert source in let
    assert all((ROOT / one).exists() for one in let)


def test_the_image_starts_a_service_that_asks_for_keys_on_the_port_it_names() -> None:
    (entry,), (words,) = of("ENTRYPOINT"), of("CMD")
    assert json.loads(entry) == ["recsys", "serve"]
    spec = serving(json.loads(words))
    assert str(spec.port) in of("EXPOSE")
    assert not LOOPBACK.fullmatch(spec.host)
    assert spec.keys is not None
    (home,) = of("WORKDIR")[1:]
    for path in (spec.bundles_dir, spec.keys, spec.feedback):
        folder = PurePosixPath(home) / path
        volumes = json.loads(of("VOLUME")[0])
        assert str(folder) in volumes or str(folder.parent) in volumes


def test_its_health_is_asked_by_the_standard_library_and_can_fail() -> None:
    words = json.loads(of("HEALTHCHECK")[0].partition(" CMD ")[2])
    assert words[:2] == ["python", "-c"]
    imports = [node for node in ast.walk(ast.parse(words[2])) if isinstance(node, ast.ImportFrom)]
    assert {str(node.module).partition(".")[0] for node in imports} <= sys.stdlib_module_names
    asked: list[str] = []

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200 if len(asked) == 1 else 503)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    with http.server.HTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        code = words[2].replace(":8000", f":{server.server_port}")
        codes = [
            subprocess.run(
                [sys.executable, "-c", code], capture_output=True, check=False
            ).returncode
            for _ in range(2)
        ]
        server.shutdown()
    assert asked == ["/livez", "/livez"]
    assert (codes[0], codes[1] != 0) == (0, True)


def requirements() -> set[str]:
    return {line for line in text("requirements.txt").splitlines() if line and line[0] != "#"}


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def with_all_they_need(names: set[str]) -> set[str]:
    """Distributions, and those that they ask for without extras."""
    found: set[str] = set()
    left = {plain(name) for name in names}
    while left:
        name = left.pop()
        found.add(name)
        try:
            asked = requires(name) or []
        except PackageNotFoundError:
            continue
        needed = {re.split(r"[ ;<>=!~\[(]", one)[0] for one in asked if "extra ==" not in one}
        left |= {plain(one) for one in needed} - found
    return found


def test_the_image_has_all_that_a_service_imports_and_nothing_that_trains() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", IMPORTED], cwd=ROOT, capture_output=True, text=True, check=True
    )
    homes = packages_distributions()
    here = with_all_they_need(requirements()) | {"noon-recsys", "setuptools"}
    imported = [{plain(home) for home in homes.get(name, [])} for name in ran.stdout.split()]
    # several distributions may share one name, and which of them is there is chance
    missing = {home for shared in imported if not shared & here for home in shared}
    # what others import where it happens to be there
    optional = {
        "attrs",
        "charset-normalizer",
        "opentelemetry-api",
        "opentelemetry-proto",
        "opentelemetry-sdk",
        "opentelemetry-semantic-conventions",
        "pyarrow",
        "scikit-learn",
        "uvloop",
    }
    assert missing <= optional, "add it to deploy/requirements.txt"
    assert not {"torch", "pytorch-lightning", "ray"} & with_all_they_need(requirements())


def test_versions_of_the_image_are_those_that_the_tests_ran_with() -> None:
    pinned = {
        plain(line.partition("==")[0])
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    }
    assert {plain(name) for name in requirements()} <= pinned


def test_compose_starts_the_image_with_settings_that_exist() -> None:
    said = parsed("compose.yaml")
    service = said["services"]["recsys"]
    spec = serving(service["command"])
    default = serving(json.loads(of("CMD")[0]))
    assert spec == default
    mounts = {PurePosixPath(one.split(":")[1]): one.split(":")[2:] for one in service["volumes"]}
    home = PurePosixPath(of("WORKDIR")[1])
    assert mounts == {
        home / spec.bundles_dir: ["ro"],
        (home / str(spec.keys)).parent: ["ro"],
        home / spec.feedback: [],
    }
    assert service["ports"] == [f"127.0.0.1:8000:{spec.port}"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    grace = int(service["stop_grace_period"].removesuffix("s"))
    assert grace > spec.drain_grace_seconds + spec.drain_seconds
    built = service["build"]
    assert (DEPLOY / built["context"] / built["dockerfile"]).samefile(DEPLOY / "Dockerfile")


def test_compose_makes_keys_where_the_service_reads_them() -> None:
    said = parsed("compose.yaml")
    tool = said["services"]["keys"]
    verb, *words = tool["entrypoint"][1:]
    assert verb == "key"
    made = compose("key", MakeKey, [*words, "name=mailer", "scopes=[recommend]"])
    assert isinstance(made, MakeKey)
    assert made.file == serving(said["services"]["recsys"]["command"]).keys
    named = {
        one.split(":")[0] for service in said["services"].values() for one in service["volumes"]
    }
    assert {one for one in named if "/" not in one} == set(said["volumes"])


def test_prometheus_asks_the_service_with_the_read_key() -> None:
    said, compose_said = parsed("prometheus.yml"), parsed("compose.yaml")
    (job,) = said["scrape_configs"]
    assert job.get("metrics_path", "/metrics") == "/metrics"
    host, port = job["static_configs"][0]["targets"][0].split(":")
    assert int(port) == serving(compose_said["services"][host]["command"]).port
    (secret,) = compose_said["services"]["prometheus"]["secrets"]
    assert job["authorization"]["credentials_file"] == f"/run/secrets/{secret}"
    kept = compose_said["secrets"][secret]["file"]
    assert Path(kept).name in text(".gitignore").split()
    mounted = [one.split(":") for one in compose_said["services"]["prometheus"]["volumes"]]
    held = {PurePosixPath(inside).name for own, inside, *_ in mounted if own.startswith("./")}
    assert set(said["rule_files"]) <= held
    assert all((DEPLOY / own).exists() for own, *_ in mounted if own.startswith("./"))


def test_the_unit_starts_and_stops_the_service() -> None:
    service = unit()["Service"]
    program, verb, *words = shlex.split(service["ExecStart"])
    assert (program, verb) == ("/opt/recsys/bin/recsys", "serve")
    spec = serving(words)
    assert spec.keys is not None
    for path in (spec.keys, spec.feedback):
        assert PurePosixPath(path).is_relative_to(service["WorkingDirectory"])
    assert service["WorkingDirectory"] == f"/var/lib/{service['StateDirectory']}"
    assert service["ReadOnlyPaths"] == spec.bundles_dir
    assert int(service["TimeoutStopSec"]) > spec.drain_grace_seconds + spec.drain_seconds
    assert service["KillSignal"] == "SIGTERM"
    assert "-HUP" in service["ExecReload"]
    assert service["User"] not in {"", "root"}
    assert int(service["LimitNOFILE"]) > spec.connections
    hardened = {"ProtectSystem": "strict", "NoNewPrivileges": "yes", "CapabilityBoundingSet": ""}
    assert {name: service[name] for name in hardened} == hardened


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd-analyze on this machine")
    # the program and the user are of the machine that it is meant for
    here = text("recsys.service").replace("/opt/recsys/bin/recsys", sys.executable)
    here = re.sub(r"^(User|Group)=.*$", r"\1=root", here, flags=re.MULTILINE)
    (tmp_path / "recsys.service").write_text(here, encoding="utf-8")
    said = subprocess.run(
        [analyze, "verify", str(tmp_path / "recsys.service")],
        capture_output=True,
        text=True,
        check=False,
    )
    ours = [line for line in said.stderr.splitlines() if "recsys.service" in line]
    assert (said.returncode, ours) == (0, [])


def test_no_host_is_named_beyond_the_names_of_images() -> None:
    for file in DEPLOY.iterdir():
        said = text(file.name)
        hosts = set(re.findall(r"https?://([^/:\s'\"]+)", said))
        assert all(LOOPBACK.fullmatch(host) for host in hosts), file.name
    images = [rest.split()[0] for rest in of("FROM")]
    images += [one["image"] for one in parsed("compose.yaml")["services"].values()]
    assert all("." not in image.partition(":")[0] for image in images)
