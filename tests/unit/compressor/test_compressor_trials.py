"""Which trials are planned for which network on which CPU."""

import pytest

from modelyard.contract.runs import QuantizeRun
from modelyard_compressor.cpu import Cpu, parse_cpuinfo
from modelyard_compressor.failures import CompressionError
from modelyard_compressor.trials import auto_mode, plan, sampled

VNNI = Cpu("AMD EPYC", "x86_64", frozenset({"avx2", "avx512_vnni"}))
AVX2 = Cpu("AMD EPYC 7R13", "x86_64", frozenset({"avx2"}))
ARM = Cpu("aarch64", "aarch64", frozenset({"asimddp"}))
CONV_NET = {"Conv", "Relu", "MatMul"}
TRANSFORMER = {"MatMul", "LayerNormalization", "Softmax", "Gather"}


def axes(**changes: object) -> QuantizeRun:
    default = QuantizeRun(
        mode=["Auto"], per_channel=[True], range_repair=[False], reduce_range="Auto", calibration_method=["MinMax"]
    )
    return default.model_copy(update=changes)


@pytest.mark.parametrize(
    ("operators", "cpu", "name"),
    [
        (CONV_NET, VNNI, "static-u8s8-perchannel-minmax"),
        (CONV_NET, AVX2, "static-u8s8-7bit-perchannel-minmax"),
        (CONV_NET, ARM, "static-s8s8-perchannel-minmax"),
        (TRANSFORMER, VNNI, "dynamic-u8s8-perchannel"),
        (TRANSFORMER, AVX2, "dynamic-u8s8-7bit-perchannel"),
        (TRANSFORMER, ARM, "dynamic-u8s8-perchannel"),
    ],
)
def test_auto_follows_the_network_and_the_cpu_flags(operators: set[str], cpu: Cpu, name: str) -> None:
    assert [trial.name for trial in plan(axes(), operators, cpu)] == [name]


@pytest.mark.parametrize("flag", ["avx512_vnni", "avx_vnni", "amx_int8"])
def test_any_instruction_that_sums_in_32_bits_needs_no_reduced_range(flag: str) -> None:
    assert not Cpu("any", "x86_64", frozenset({flag})).saturates


def test_reduce_range_can_be_asked_for_and_forbidden() -> None:
    asked = plan(axes(reduce_range="Always"), CONV_NET, VNNI) + plan(axes(reduce_range="Never"), CONV_NET, AVX2)

    assert [trial.reduce_range for trial in asked] == [True, False]


def test_each_combination_is_one_trial_and_dynamic_knows_no_calibration() -> None:
    trials = plan(
        axes(mode=["Auto", "Static", "Dynamic"], per_channel=[True, False], calibration_method=["MinMax", "Entropy"]),
        CONV_NET,
        VNNI,
    )

    assert [trial.name for trial in trials] == [
        "static-u8s8-perchannel-minmax",
        "static-u8s8-perchannel-entropy",
        "static-u8s8-pertensor-minmax",
        "static-u8s8-pertensor-entropy",
        "dynamic-u8s8-perchannel",
        "dynamic-u8s8-pertensor",
    ]


def test_modes_without_axes_of_their_own_are_tried_once() -> None:
    trials = plan(axes(mode=["Int4", "Float16"], per_channel=[True, False], range_repair=[True, False]), CONV_NET, VNNI)

    assert [trial.name for trial in trials] == ["int4", "float16"]


def test_repaired_ranges_are_an_axis_of_both_modes() -> None:
    trials = plan(axes(mode=["Static", "Dynamic"], range_repair=[True, False]), CONV_NET, VNNI)

    assert [trial.name for trial in trials] == [
        "static-u8s8-perchannel-minmax-repaired",
        "static-u8s8-perchannel-minmax",
        "dynamic-u8s8-perchannel-repaired",
        "dynamic-u8s8-perchannel",
    ]


def test_too_many_trials_are_drawn_by_seed_and_the_first_is_among_them() -> None:
    trials = plan(
        axes(per_channel=[True, False], calibration_method=["MinMax", "Entropy", "Percentile"]), CONV_NET, VNNI
    )

    drawn = [[trial.name for trial in sampled(trials, 3, seed)] for seed in (0, 0, 1)]

    assert drawn[0] == drawn[1] != drawn[2]
    assert all(len(names) == 3 and names[0] == trials[0].name for names in drawn)
    assert sampled(trials, 6, 0) == trials


def test_a_recurrent_network_is_dynamic() -> None:
    assert auto_mode({"LSTM", "Squeeze"}) == "Dynamic"


def test_a_network_without_weights_is_refused() -> None:
    with pytest.raises(CompressionError, match=r"spec.source") as caught:
        auto_mode({"Relu", "Add"})
    assert caught.value.reason == "NothingToQuantize"


def test_cpuinfo_of_x86_and_of_arm_is_read() -> None:
    x86 = "processor\t: 0\nmodel name\t: Intel(R) Xeon(R)\nflags\t\t: fpu avx2 avx512_vnni\n\nprocessor\t: 1\n"
    arm = "processor\t: 0\nFeatures\t: fp asimd asimddp\nCPU part\t: 0xd40\n"

    assert parse_cpuinfo(x86, "x86_64") == Cpu("Intel(R) Xeon(R)", "x86_64", frozenset({"fpu", "avx2", "avx512_vnni"}))
    assert parse_cpuinfo(arm, "aarch64") == Cpu("aarch64", "aarch64", frozenset({"fp", "asimd", "asimddp"}))


def test_an_unknown_x86_is_taken_for_one_without_vnni() -> None:
    assert parse_cpuinfo("", "x86_64").saturates
