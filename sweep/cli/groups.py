"""Groups of options: a parameter whose type is a dataclass of options stands for all of them.

Typer takes the options of a command from its signature; this writes that signature, so that commands
share options without repeating them.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, get_type_hints

C = TypeVar("C", bound=Callable[..., Any])


def with_groups(command: C) -> C:
    """A command that typer sees with the options of its groups in place of the groups.

    Args:
        command: parameters whose annotation is a dataclass are groups; every field of one is an
            option, annotated as typer wants it, with a default.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, tuple[Any, list[str]]] = {}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        if not dataclasses.is_dataclass(hints[name]):
            parameters.append(_named(name, hints[name], parameter.default))
            continue
        fields = dataclasses.fields(hints[name])
        options = get_type_hints(hints[name], include_extras=True)
        groups[name] = hints[name], [f.name for f in fields]
        parameters += [_named(f.name, options[f.name], f.default) for f in fields]

    @functools.wraps(command)
    def call(**given: Any) -> Any:
        made = {
            name: kind(**{field: given.pop(field) for field in fields})
            for name, (kind, fields) in groups.items()
        }
        return command(**given, **made)

    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {p.name: p.annotation for p in parameters}
    return call  # type: ignore[return-value]


def _named(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )
