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


def words(group: Any) -> list[str]:
    """A group as the words of a command line that give it: options that are not at their default.

    Raises:
        ValueError: where an option that may be switched off is, which has no word for it here.
    """
    hints = get_type_hints(type(group), include_extras=True)
    found: list[str] = []
    for field in dataclasses.fields(group):
        value = getattr(group, field.name)
        if value is None or value == field.default:
            continue
        about = next((one for one in hints[field.name].__metadata__), None)
        # In an annotation, typer takes the first name for a default.
        given = (getattr(about, "default", None), *(getattr(about, "param_decls", None) or ()))
        names = [name for name in given if isinstance(name, str) and name.startswith("--")]
        name = names[0] if names else f"--{field.name.replace('_', '-')}"
        if value is True:
            found.append(name.partition("/")[0])
        elif value is False:
            raise ValueError(f"{name} cannot be switched off in words")
        else:
            for one in value if isinstance(value, list) else [value]:
                found += [name, str(one)]
    return found


def _named(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )
