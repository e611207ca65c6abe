"""The base of every document that crosses a process boundary."""

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Document(BaseModel):
    """A frozen JSON document, camelCase on the wire. Unknown fields are an error: both ends are one version."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        use_attribute_docstrings=True,
    )

    def to_json(self) -> str:
        """The document as JSON text; absent fields are left out."""
        return self.model_dump_json(exclude_none=True)
