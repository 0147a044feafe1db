"""Models as they were at a revision, in a small repository of real git."""

import subprocess

import pytest

import archprof
from archprof.errors import ArchprofError, UnknownName, UsageError
from archprof.sources import git_revision
from archprof.sources.model_grammar import ModelSpec, parse_model

NET = """
from torch import nn
from parts import WIDTH

def net(width=WIDTH):
    from parts import depth
    return nn.Sequential(*(nn.Linear(width, width) for _ in range(depth()))), (1, width)

fixed = nn.Linear(3, 3), (1, 3)
"""


def git(folder, *words):
    name = ("-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    run = subprocess.run(["git", "-C", folder, *name, *words], check=True, capture_output=True, text=True)
    return run.stdout


@pytest.fixture
def repository(tmp_path):
    """Two commits: `parts.py`, which `net.py` imports, has a width of 4 in v1 and of 8 now, and 3 uncommitted."""
    folder = tmp_path / "a@b" / "nets"
    folder.mkdir(parents=True)
    git(tmp_path, "init", "-q", "-b", "main")
    (folder / "net.py").write_text(NET)
    (folder / "parts.py").write_text("WIDTH = 4\ndef depth(): return 1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "one")
    git(tmp_path, "tag", "v1.0")
    (folder / "parts.py").write_text("WIDTH = 8\ndef depth(): return 2\n")
    (folder / "later.py").write_text("from torch import nn\ndef net(): return nn.Identity()\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "two")
    (folder / "parts.py").write_text("WIDTH = 3\ndef depth(): return 3\n")
    return tmp_path


def params(spec):
    return archprof.profile(spec).totals.params


def test_each_revision_has_its_own_files_beside_it(repository):
    """A linear layer of width w has w * w + w parameters; width and depth come from a sibling, now and when called."""
    net = f"{repository}/a@b/nets/net.py:net"
    assert params(f"{net}@v1.0") == 4 * 4 + 4
    assert params(f"{net}@HEAD") == 2 * (8 * 8 + 8)
    assert params(f"{net}@main~1") == 4 * 4 + 4
    assert params(net) == 3 * (3 * 3 + 3)
    assert params(f"{net}(width=5)@HEAD") == 2 * (5 * 5 + 5)


def test_the_spec_is_the_name_of_the_model(repository):
    spec = f"{repository}/a@b/nets/net.py:net@v1.0"
    assert archprof.profile(spec).model == spec


def test_the_repository_stays_as_it_is(repository):
    def state():
        files = {path: path.read_bytes() for path in repository.rglob("*") if path.is_file()}
        return (
            files,
            git(repository, "--no-optional-locks", "status", "--porcelain=v2"),
            git(repository, "worktree", "list"),
        )

    before = state()
    params(f"{repository}/a@b/nets/net.py:net@v1.0")
    assert state() == before


def test_the_copy_is_gone_afterwards(repository):
    with git_revision.at_revision(f"{repository}/a@b/nets/net.py", "v1.0") as file:
        assert file.with_name("parts.py").read_text().startswith("WIDTH = 4")
        assert not file.is_relative_to(repository)
        copy = file
    assert not copy.parents[2].exists()


def test_a_file_deleted_since_can_be_named(repository):
    git(repository, "rm", "-rfq", "a@b/nets")
    assert params(f"{repository}/a@b/nets/net.py:net@v1.0") == 20


def test_a_relative_path_is_taken_from_the_current_folder(repository, monkeypatch):
    monkeypatch.chdir(repository / "a@b")
    assert params("nets/net.py:net@v1.0") == 20


@pytest.mark.parametrize(
    ("revision", "said"),
    [
        ("v1.1", "Near it: v1.0"),
        ("zzzzzzz", "Branches and tags: main, v1.0"),
        ("--all", "There is no revision '--all'"),
    ],
)
def test_an_unknown_revision(repository, revision, said):
    with pytest.raises(UsageError, match="There is no revision") as error:
        params(f"{repository}/a@b/nets/net.py:net@{revision}")
    assert said in str(error.value)


def test_a_file_that_was_not_there_then(repository):
    with pytest.raises(UsageError, match=r"was not in the repository at v1\.0"):
        params(f"{repository}/a@b/nets/later.py:net@v1.0")


def test_no_repository(tmp_path):
    (tmp_path / "net.py").write_text(NET)
    with pytest.raises(UsageError, match="not a git repository"):
        params(f"{tmp_path}/net.py:net@HEAD")


def test_no_git(repository, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ArchprofError, match="needs git"):
        params(f"{repository}/a@b/nets/net.py:net@HEAD")


def test_errors_name_the_file_as_it_was_given(repository):
    file = f"{repository}/a@b/nets/net.py"
    with pytest.raises(UnknownName) as error:
        params(f"{file}:nat@v1.0")
    assert f"There is no model in {file} at v1.0 called 'nat'." in str(error.value)
    assert "Near it: net" in str(error.value)


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("net.py:Net@HEAD~1", ModelSpec("net.py", "Net", None, "HEAD~1")),
        ("net.py:Net.small@HEAD@{1}", ModelSpec("net.py", "Net.small", None, "HEAD@{1}")),
        ("a@b/net.py:Net", ModelSpec("a@b/net.py", "Net")),
        ("net.py:Net(width=2)@v1.0", ModelSpec("net.py", "Net", {"width": 2}, "v1.0")),
        ("net.py:Net(name='a@b')", ModelSpec("net.py", "Net", {"name": "a@b"})),
        ("net.py:Net(name=')@b')@feature/x", ModelSpec("net.py", "Net", {"name": ")@b"}, "feature/x")),
    ],
)
def test_the_grammar(text, spec):
    assert parse_model(text) == spec


def test_an_empty_revision():
    with pytest.raises(UsageError, match="names no revision"):
        parse_model("net.py:Net@")
