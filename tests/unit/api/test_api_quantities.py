import pytest
from pydantic import TypeAdapter, ValidationError

from modelyard.api.quantities import DecimalString, Quantity, parse_quantity, whole_cores


@pytest.mark.parametrize(
    ("text", "value"),
    [("2", 2), ("0.5", 0.5), ("500m", 0.5), ("64Mi", 64 * 2**20), ("1.5Gi", 1.5 * 2**30), ("3k", 3000), ("2G", 2e9)],
)
def test_a_quantity_is_read_in_its_base_unit(text: str, value: float) -> None:
    assert parse_quantity(TypeAdapter(Quantity).validate_python(text)) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "two", "-1", "1 Gi", "1e3", "1Gb", "1,5", ".5", "5.", "1" * 25])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Quantity).validate_python(text)


@pytest.mark.parametrize(
    ("limit", "cores"), [(None, 1), ("1", 1), ("100m", 1), ("0", 1), ("1001m", 2), ("1.5", 2), ("16", 16)]
)
def test_threads_are_the_cpu_limit_rounded_up(limit: str | None, cores: int) -> None:
    assert whole_cores(limit) == cores


def test_whole_cores_in_thousandths_are_not_rounded_up_further() -> None:
    assert [whole_cores(f"{cores}000m") for cores in range(1, 257)] == list(range(1, 257))


@pytest.mark.parametrize("text", ["0.95", "-1", "1e-07", "5E+3"])
def test_a_decimal_string_is_a_number(text: str) -> None:
    assert float(TypeAdapter(DecimalString).validate_python(text)) == float(text)


@pytest.mark.parametrize("text", ["", "nan", "inf", "1_000", "0x1", "1.", " 1", "95%"])
def test_what_is_no_decimal_string_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(DecimalString).validate_python(text)
