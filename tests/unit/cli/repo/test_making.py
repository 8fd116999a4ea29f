"""Making repositories, and their key files."""

import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from softman.cli.repo.keyfiles import KeyFiles
from softman.cvmfs.format.keys import GatewayKey
from softman.cvmfs.format.signature import load_private_key, load_public_key
from tests.unit.cli.repo.conftest import NAME, Admin

SUFFIXES = (".crt", ".gw", ".key", ".masterkey", ".pub")


def _modes(directory: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}


def test_create_makes_a_repository_and_keys_under_the_official_names(admin: Admin) -> None:
    made = admin.write("create", "--json")
    assert made.code == 0
    (told,) = made.objects
    assert (told["name"], told["revision"]) == (NAME, 1)
    secret, public = 0o600, 0o444
    assert _modes(admin.keys) == {
        f"{NAME}.masterkey": secret,
        f"{NAME}.pub": public,
        f"{NAME}.key": secret,
        f"{NAME}.crt": public,
        f"{NAME}.gw": secret,
    }
    assert stat.S_IMODE(admin.keys.stat().st_mode) == 0o700
    GatewayKey.parse((admin.keys / f"{NAME}.gw").read_text())
    assert admin.read("ls").code == 0


def test_create_again_finds_what_is_there(made: Admin) -> None:
    before = {path: path.read_bytes() for path in made.keys.iterdir()}
    again = made.write("create")
    assert (again.code, again.err) == (0, "")
    assert {path: path.read_bytes() for path in made.keys.iterdir()} == before


def test_other_keys_do_not_take_a_repository_over(made: Admin) -> None:
    for path in made.keys.iterdir():
        path.unlink()
    assert made.write("create").code == 44


def test_some_of_the_keys_are_not_enough_and_none_is_replaced(made: Admin) -> None:
    (made.keys / f"{NAME}.crt").unlink()
    ended = made.write("create")
    assert ended.code == 12
    assert f"{NAME}.crt" in ended.err
    assert {path.name for path in made.keys.iterdir()} == {f"{NAME}{s}" for s in SUFFIXES} - {f"{NAME}.crt"}


def test_a_master_key_from_elsewhere_signs_and_is_not_copied(made: Admin, tmp_path: Path) -> None:
    domain = tmp_path / "domain.masterkey"
    domain.write_bytes((made.keys / f"{NAME}.masterkey").read_bytes())
    other = Admin(made.softman, tmp_path / "other")
    other.root.mkdir()
    assert other.write("create", "--master-key", domain).code == 0
    assert not (other.keys / f"{NAME}.masterkey").exists()
    assert load_public_key((other.keys / f"{NAME}.pub").read_bytes()).public_numbers() == (
        load_private_key(domain.read_bytes()).public_key().public_numbers()
    )
    assert other.read("ls").code == 0
    assert other.write("resign").code == 14
    assert other.write("resign", "--master-key", domain).code == 0


def test_resign_moves_the_expiry(made: Admin) -> None:
    (first,) = made.write("resign", "--days", "3", "--json").objects
    (second,) = made.write("resign", "--days", "5", "--json").objects
    assert second["whitelist_expires"] - first["whitelist_expires"] == 2 * 86400
    assert "valid until" in made.write("resign").lines[0]


def test_key_files_appear_all_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = Path.hardlink_to

    def full(self: Path, target: Path) -> None:
        if self.suffix == ".crt":
            raise OSError(28, "No space left on device", str(self))
        genuine(self, target)

    monkeypatch.setattr(Path, "hardlink_to", full)
    files = KeyFiles(tmp_path / "new", NAME)
    with pytest.raises(OSError, match="No space"):
        files.make(datetime(2026, 11, 22, tzinfo=UTC))
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize("storage", ["/srv/cvmfs", "http://example.org/", "file://host/srv", "s4://x"])
def test_storage_that_is_none(admin: Admin, storage: str) -> None:
    ended = admin.softman("repo", "create", NAME, "--storage", storage, "--keys", str(admin.keys))
    assert ended.code == 12
    assert "no storage" in ended.err


def test_a_name_that_is_none(admin: Admin) -> None:
    ended = admin.softman("repo", "create", "..", "--storage", "file:///srv", "--keys", str(admin.keys))
    assert ended.code == 31
    assert not admin.keys.exists()


@pytest.mark.slow
@pytest.mark.parametrize(("word", "suffix"), [("sha1", ""), ("rmd160", "-rmd160"), ("shake128", "-shake128")])
def test_the_hash_is_chosen_once(admin: Admin, tmp_path: Path, word: str, suffix: str) -> None:
    (told,) = admin.write("create", "--hash", word, "--json").objects
    assert (told["hash"], told["root_hash"][40:]) == (word, suffix)
    (again,) = admin.write("create", "--json").objects
    assert (again["hash"], again["root_hash"]) == (word, told["root_hash"])
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "file").write_bytes(b"content")
    (published,) = admin.write("publish", tmp_path / "source", "--json").objects
    assert published["root_hash"][40:] == suffix
    assert admin.read("cat", "/file").out == b"content"
    assert admin.read("check", "--content", "--unreferenced").code == 0
