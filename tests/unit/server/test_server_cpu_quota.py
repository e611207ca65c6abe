from pathlib import Path

import pytest

from modelyard_server.cpu_quota import available_cpus, cgroup_quota


def written(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.mark.parametrize(
    ("membership", "files", "quota"),
    [
        # Version 2, as a container sees it: its own group is the root.
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        # Version 2 on a host: a group above may be the narrower one.
        ("0::/a/b\n", {"a/cpu.max": "200000 100000\n", "a/b/cpu.max": "max 100000\n"}, 2.0),
        ("0::/a/b\n", {"a/cpu.max": "400000 100000\n", "a/b/cpu.max": "50000 100000\n"}, 0.5),
        # In a namespace the path may lead above what is mounted.
        ("0::/../..\n", {"cpu.max": "100000 100000\n"}, 1.0),
        # Version 1, by the controllers' own folder or by the usual link.
        (
            "4:cpu,cpuacct:/pod\n0::/x\n",
            {
                "cpu,cpuacct/pod/cpu.cfs_quota_us": "300000\n",
                "cpu,cpuacct/pod/cpu.cfs_period_us": "100000\n",
                "cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
                "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            3.0,
        ),
        ("4:cpu,cpuacct:/pod\n", {"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "50000"}, 1.0),
        # Nothing readable, and nonsense.
        ("0::/\n", {}, None),
        ("nonsense\n", {"cpu.max": "x"}, None),
    ],
)
def test_the_narrowest_quota_counts(tmp_path: Path, membership: str, files: dict[str, str], quota: float) -> None:
    written(tmp_path / "cgroup", files)
    (tmp_path / "membership").write_text(membership)
    assert cgroup_quota(tmp_path / "cgroup", tmp_path / "membership") == quota


def test_there_is_at_least_one_cpu_here() -> None:
    assert available_cpus() >= 1
