"""When the vLLM plugin stays out of the way. No vLLM is needed: these are what it is asked."""

import logging
import sys
from types import ModuleType

import pytest

from kvkeep.vllm import plugin

MODULES = {
    "vllm.v1.core.kv_cache_coordinator": "BlockPool",
    "vllm.v1.engine.core": "get_request_block_hasher",
    "vllm.v1.core.sched.scheduler": "KVCacheManager",
}


@pytest.fixture(autouse=True)
def vllm(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A vLLM of a known version that has nothing but the names that are replaced."""
    for name in MODULES:
        parts = name.split(".")
        for end in range(1, len(parts) + 1):
            module = ModuleType(".".join(parts[:end]))
            module.__path__ = []
            monkeypatch.setitem(sys.modules, module.__name__, module)
    for name, attribute in MODULES.items():
        setattr(sys.modules[name], attribute, "vLLM's own")
    found = sys.modules["vllm"]
    found.__dict__["__version__"] = "0.33.0"
    monkeypatch.setenv("KVKEEP_VLLM", "2")
    monkeypatch.delenv("KVKEEP_VLLM_POLICY", raising=False)
    return found


def register(caplog: pytest.LogCaptureFixture) -> str:
    """Runs the entry point; nothing may change. Returns what it says."""
    with caplog.at_level(logging.INFO, logger="vllm.kvkeep"):
        plugin.register()
    for name, attribute in MODULES.items():
        assert getattr(sys.modules[name], attribute) == "vLLM's own"
    return caplog.text


def test_nothing_is_said_where_nothing_is_asked(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for level in ("", "0"):
        monkeypatch.setenv("KVKEEP_VLLM", level)
        assert register(caplog) == ""
    monkeypatch.delenv("KVKEEP_VLLM")
    assert register(caplog) == ""


def test_a_wrong_setting_is_named(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KVKEEP_VLLM", "3")
    assert "KVKEEP_VLLM is '3'; set it to auto, 2, 1 or 0" in register(caplog)
    monkeypatch.setenv("KVKEEP_VLLM", "auto")
    monkeypatch.setenv("KVKEEP_VLLM_POLICY", "lur")
    assert "no eviction policy is called" in register(caplog)


@pytest.mark.parametrize("version", ["0.34.0", "0.33.0rc1", "0.33.1.dev5+g1234", "1.33.0", "dev"])
def test_another_version_stays_as_it_is(
    vllm: ModuleType, caplog: pytest.LogCaptureFixture, version: str
) -> None:
    vllm.__dict__["__version__"] = version
    assert f"This is vLLM {version} and kvkeep knows 0.32, 0.33" in register(caplog)


@pytest.mark.parametrize("version", ["0.32.0", "0.33.0", "0.33.7", "0.33.0.post1", "0.33.0+cpu"])
def test_releases_of_known_versions(version: str) -> None:
    assert plugin.knows(version)


def test_what_cannot_be_installed_leaves_all_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    # This vLLM has no classes to derive from.
    said = register(caplog)
    assert "It could not be installed, and vLLM stays as it is." in said
    assert "Traceback" in said
