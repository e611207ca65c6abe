"""Gates, selection and verdict."""

from modelyard.contract.compression import GateResult
from modelyard.contract.runs import GatesRun
from modelyard_compressor.gates import judge, refusal, select
from modelyard_compressor.intervals import Interval
from modelyard_compressor.latency import Latency, Speedup
from modelyard_compressor.results import CandidateFigures, MeasuredTrial
from modelyard_compressor.trials import Trial

POINT = Interval(low=0, high=0)


def figures(
    drop: float = 0.0, p99: float = 1.0, speedup: float = 2.0, size: int = 1000, spread: float = 0.0
) -> CandidateFigures:
    latency = Latency(
        batch_size=1,
        calls_per_sample=1,
        samples_milliseconds=[p99],
        p50_milliseconds=p99,
        p99_milliseconds=p99,
        variation=0,
    )
    return CandidateFigures(
        accuracy=0.9,
        size_bytes=size,
        latencies=[latency],
        accuracy_drop=drop,
        accuracy_drop_interval=POINT,
        speedups=[Speedup(batch_size=1, value=speedup, interval=Interval(low=speedup - spread, high=speedup + spread))],
        int8_mac_share=1,
    )


def trial(name: str, speedup: float, gates: str, drop: float = 0.0, spread: float = 0.0) -> MeasuredTrial:
    verdicts = [GateResult(name="gate", limit="1", observed="2", passed=sign == "+") for sign in gates]
    how = Trial(mode="Dynamic", activation="U8", per_channel=True, reduce_range=False)
    return MeasuredTrial(name=name, trial=how, figures=figures(drop, speedup=speedup, spread=spread), gates=verdicts)


def test_each_limit_is_one_gate_named_as_in_the_spec() -> None:
    limits = GatesRun(
        max_accuracy_drop=0.01, max_latency_p99_milliseconds=0.5, min_speedup=1.3, max_size_bytes=12_345_678
    )

    assert judge(limits, figures(drop=0.031)) == [
        GateResult(name="maxAccuracyDrop", limit="0.01", observed="0.031", passed=False),
        GateResult(name="maxLatencyP99Milliseconds", limit="0.5", observed="1", passed=False),
        GateResult(name="minSpeedup", limit="1.3", observed="2", passed=True),
        GateResult(name="maxSizeBytes", limit="12345678", observed="1000", passed=True),
    ]


def test_no_limit_is_no_gate() -> None:
    assert judge(GatesRun(), figures()) == []


def test_a_drop_of_exactly_the_limit_holds() -> None:
    verdicts = [judge(GatesRun(max_accuracy_drop=0.01), figures(drop=drop))[0] for drop in (0.97 - 0.96, 0.0101, -0.5)]

    assert [verdict.passed for verdict in verdicts] == [True, False, True]


def test_the_fastest_of_those_that_hold_all_gates_is_selected() -> None:
    trials = [trial("slow", 1.5, "++"), trial("fast", 2.5, "++"), trial("fastest", 9, "+-")]

    assert select(trials).name == "fast"


def test_of_those_that_may_be_as_fast_the_most_accurate_is_selected() -> None:
    noisy = [trial("fast", 2.5, "+", 0.02, 0.1), trial("exact", 2.4, "+", 0.01, 0.1), trial("slow", 2.2, "+", 0.0, 0.1)]
    quiet = [trial("fast", 2.5, "+", 0.02, 0.01), trial("exact", 2.4, "+", 0.01, 0.01)]

    assert (select(noisy).name, select(quiet).name) == ("exact", "fast")


def test_when_none_holds_all_the_one_that_fails_fewest_is_selected() -> None:
    trials = [trial("two", 9, "--"), trial("one", 1.1, "+-"), trial("faster", 1.2, "-+")]

    assert select(trials).name == "faster"


def test_a_refusal_names_each_failed_gate() -> None:
    gates = judge(GatesRun(max_accuracy_drop=0.01, min_speedup=3, max_size_bytes=2000), figures(drop=0.031))

    assert refusal(gates) == "maxAccuracyDrop: 0.031 observed, limit 0.01; minSpeedup: 2 observed, limit 3"
