"""Read the fields of dataclasses, named tuples, and models of pydantic, attrs and msgspec.

None of these libraries is imported: their classes list their fields. A field that is not in its object's repr
(``repr=False``) was meant to be hidden.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple


class Field(NamedTuple):
    """A field of an object."""

    name: str
    value: object
    is_hidden: bool
    """Whether it is not in the object's repr."""


def fields_of(value: object) -> Iterator[Field] | None:
    """Return an object's fields; None when it is of no kind that is known here.

    Reading them raises what the object's own methods raise.
    """
    kind = type(value)
    if isinstance(value, tuple):
        names = getattr(kind, "_fields", None)
        return _named(value, names) if isinstance(names, tuple) else None
    if hasattr(kind, "__dataclass_fields__"):
        return _of_dataclass(value)
    for attribute in _NAMED_BY_PYDANTIC:
        declared = getattr(kind, attribute, None)
        if isinstance(declared, Mapping):
            return _of_pydantic(value, declared)
    declared = getattr(kind, "__attrs_attrs__", None)
    if isinstance(declared, tuple):
        return _of_attrs(value, declared)
    declared = getattr(kind, "__struct_fields__", None)
    return _of_msgspec(value, declared) if isinstance(declared, tuple) else None


# Its second version, that before 2.10, and its first version.
_NAMED_BY_PYDANTIC = ("__pydantic_fields__", "model_fields", "__fields__")


def _named(value: tuple[object, ...], names: tuple[str, ...]) -> Iterator[Field]:
    return (Field(name, item, False) for name, item in zip(names, value, strict=False))


def _of_dataclass(value: Any) -> Iterator[Field]:
    return (
        Field(about.name, getattr(value, about.name, None), not about.repr)
        for about in dataclasses.fields(value)
    )


def _of_pydantic(value: object, declared: Mapping[str, Any]) -> Iterator[Field]:
    for name, about in declared.items():
        shown = getattr(getattr(about, "field_info", about), "repr", True)
        yield Field(name, getattr(value, name, None), shown is False)
    further = getattr(value, "__pydantic_extra__", None)
    if isinstance(further, dict):
        for name, item in further.items():
            yield Field(str(name), item, False)


def _of_attrs(value: object, declared: tuple[Any, ...]) -> Iterator[Field]:
    return (Field(about.name, getattr(value, about.name, None), about.repr is False) for about in declared)


def _of_msgspec(value: object, declared: tuple[str, ...]) -> Iterator[Field]:
    return (Field(name, getattr(value, name, None), False) for name in declared)
