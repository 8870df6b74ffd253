"""The one reader of stack files and lists of people: YAML 1.2, and of it what Pulumi's engine makes.

The program, the command and a person must see the same in a file: PyYAML takes `no` for false and the last of
two equal keys, and the engine gives the program texts as keys and whole numbers where a file has `1.0`.
"""

from __future__ import annotations

import re
from typing import Any

_DATE = "tag:yaml.org,2002:timestamp"
# A leading zero means octal to the engine. Source: go-yaml/yaml v3, resolve.go (ParseInt with base 0).
_OCTAL = re.compile(r"[-+]?0[0-7]+")


class NotYaml(Exception):
    """A text is not one YAML document of plain values. The text says in one line where, and what is wrong."""


def load(text: str) -> Any:
    """The one document in `text` as maps with texts as keys, lists, texts, numbers, booleans and None.

    Raises: NotYaml, for equal keys of one map and for a date without quotes, too.
    """
    from ruamel.yaml import YAML  # only here: most commands read no YAML
    from ruamel.yaml.constructor import ConstructorError, SafeConstructor
    from ruamel.yaml.error import YAMLError

    class Constructor(SafeConstructor):
        def whole(self, node: Any) -> int:
            digits = str(node.value).replace("_", "")
            return int(digits, 8) if _OCTAL.fullmatch(digits) else int(self.construct_yaml_int(node))

        def date(self, node: Any) -> None:
            raise ConstructorError(None, None, "a date is no text: it needs quotes", node.start_mark)

    Constructor.add_constructor("tag:yaml.org,2002:int", Constructor.whole)
    Constructor.add_constructor(_DATE, Constructor.date)
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = Constructor
    try:
        return _plain(yaml.load(text))
    except YAMLError as error:
        raise NotYaml(where(error)) from None
    except RecursionError:
        raise NotYaml("it is too deep, or an alias that contains itself") from None


def where(error: Exception) -> str:
    """An error of the YAML library in one line, without its advice, and without values: some are secret."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if not (mark and problem):
        return " ".join(str(error).split())
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem.partition(' with value ')[0]}"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {_key(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _key(key: Any) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)
