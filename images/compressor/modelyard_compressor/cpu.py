"""What can this CPU do with 8-bit integers? Read from its flags, never from its name."""

import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ActivationType = Literal["U8", "S8"]

_CPUINFO = Path("/proc/cpuinfo")
_VNNI_FLAGS = frozenset({"avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8"})
_ARITHMETIC = ("avx", "amx", "fma", "asimd", "i8mm", "bf16", "sve")
_ARM_MACHINES = frozenset({"aarch64", "arm64"})


@dataclass(frozen=True)
class Cpu:
    """One processor, as the kernel describes it."""

    model: str
    machine: str
    """As ``uname -m`` gives it."""
    flags: frozenset[str]

    @property
    def arm(self) -> bool:
        return self.machine in _ARM_MACHINES

    @property
    def vnni(self) -> bool:
        """Whether products of 8-bit integers are summed in 32 bits by one instruction."""
        return bool(self.flags & _VNNI_FLAGS)

    @property
    def arithmetic_flags(self) -> list[str]:
        """The flags that decide how numbers are multiplied, sorted."""
        return sorted(flag for flag in self.flags if flag.startswith(_ARITHMETIC))

    @property
    def activation_type(self) -> ActivationType:
        """The fast type for activations: signed on Arm, unsigned on x86, where U8U8 and S8S8 lack kernels."""
        return "S8" if self.arm else "U8"

    @property
    def saturates(self) -> bool:
        """Whether U8S8 sums are cut at 16 bits, so that weights must keep to 7 (onnxruntime#5849)."""
        return not self.arm and not self.vnni


def parse_cpuinfo(text: str, machine: str) -> Cpu:
    """The first processor in the text of ``/proc/cpuinfo``; without flags where the text names none."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    flags = fields.get("flags") or fields.get("Features") or ""
    return Cpu(fields.get("model name") or machine, machine, frozenset(flags.split()))


def this_cpu() -> Cpu:
    """The CPU of this machine. Where the kernel tells no flags, none are assumed."""
    text = _CPUINFO.read_text() if _CPUINFO.is_file() else ""
    return parse_cpuinfo(text, platform.machine())
