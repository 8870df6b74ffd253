"""What a person may use: one of the tiers, or a quota of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from types import MappingProxyType
from typing import Any

from config.instance_types import GPU_INSTANCE_TYPES
from config.model import GpuSettings, Person, Tier
from config.naming import GPU_RESOURCE
from config.problems import Problems
from config.quantities import COUNT_FORM, CPU_FORM, MEMORY_FORM, canonical, count, cpu, memory
from config.validation import Encrypted, Section, shown

# The one key that limits GPUs: a quota counts extended resources by what pods request, and nothing else.
GPU_KEY = f"requests.{GPU_RESOURCE}"
_Parse = Callable[[Any], Fraction]
_KEYS: Mapping[str, tuple[_Parse, str, str]] = MappingProxyType(  # key -> reader, accepted form, example
    {
        "requests.cpu": (cpu, CPU_FORM, "4"),
        "requests.memory": (memory, MEMORY_FORM, "16Gi"),
        "limits.cpu": (cpu, CPU_FORM, "8"),
        "limits.memory": (memory, MEMORY_FORM, "32Gi"),
        GPU_KEY: (count, COUNT_FORM, "1"),
        "requests.storage": (memory, MEMORY_FORM, "100Gi"),
        "persistentvolumeclaims": (count, COUNT_FORM, "4"),
        "pods": (count, COUNT_FORM, "20"),
    }
)
# Keys that the API accepts and that do not do, or do not say, what people expect.
_MEANT: Mapping[str, str] = MappingProxyType(
    {
        "cpu": "requests.cpu",
        "memory": "requests.memory",
        "storage": "requests.storage",
        GPU_RESOURCE: GPU_KEY,
        f"limits.{GPU_RESOURCE}": GPU_KEY,
    }
)
# What a container gets that asks for nothing, where the quota counts it.
_DEFAULT_REQUEST = {"cpu": "100m", "memory": "256Mi"}
_DEFAULT_LIMIT = {"cpu": "1", "memory": "1Gi"}


def tier_of(name: str, quota: Mapping[str, str]) -> Tier:
    """A quota, with defaults for containers that do not say what they need: it would refuse them."""

    def counted(kind: str, defaults: Mapping[str, str]) -> Mapping[str, str]:
        return MappingProxyType({key: text for key, text in defaults.items() if f"{kind}.{key}" in quota})

    return Tier(
        name=name,
        quota=MappingProxyType(dict(quota)),
        default_request=counted("requests", _DEFAULT_REQUEST),
        default_limit=counted("limits", _DEFAULT_LIMIT),
    )


def _tier(name: str, cores: int, memory_gi: int, gpus: int) -> Tier:
    quota = {
        "requests.cpu": str(cores),
        "requests.memory": f"{memory_gi}Gi",
        "limits.cpu": str(2 * cores),
        "limits.memory": f"{2 * memory_gi}Gi",
        GPU_KEY: str(gpus),
    }
    return tier_of(name, quota)


TIERS: Mapping[str, Tier] = MappingProxyType(
    {
        "small": _tier("small", cores=4, memory_gi=8, gpus=0),
        "medium": _tier("medium", cores=8, memory_gi=24, gpus=0),
        "gpu": _tier("gpu", cores=8, memory_gi=24, gpus=1),
    }
)


def tier(section: Section) -> Tier:
    """The tier of one person: `tier` by name, or `quota` with the keys of a ResourceQuota."""
    named = TIERS[section.choice("tier", TIERS, "small")]
    quota = section.section("quota")
    if not section.has("quota"):
        return named
    if section.has("tier"):
        section.refuse("quota", "is given beside a tier", "one of tier and quota", None)
    return tier_of("quota", _quota(quota))


def _quota(section: Section) -> dict[str, str]:
    found: dict[str, str] = {}
    values: dict[str, Fraction] = {}
    for name in section.names():
        path, raw = section.key(name), section.take(name)
        if name not in _KEYS:
            meant = f" (did you mean {_MEANT[name]}?)" if name in _MEANT else ""
            section.problems.add(path, f"is not a known key{meant}", ", ".join(_KEYS), None)
            continue
        if isinstance(raw, Encrypted):
            continue
        parse, accepted, example = _KEYS[name]
        try:
            values[name], found[name] = parse(raw), str(raw)
        except ValueError as error:
            section.problems.add(path, str(error), accepted, example)
    _check_pairs(section, found, values)
    return {name: canonical(text) for name, text in found.items()}


def _check_pairs(section: Section, found: Mapping[str, str], values: Mapping[str, Fraction]) -> None:
    """Requests stay below limits, and one container with the defaults must fit."""
    for resource, parse in (("cpu", cpu), ("memory", memory)):
        request, limit = f"requests.{resource}", f"limits.{resource}"
        if request in values and limit in values and values[request] > values[limit]:
            section.problems.add(
                f'{section.path}["{request}"]',
                f"{found[request]} is more than {limit} {found[limit]}",
                f"at most {found[limit]}",
                found[limit],
            )
        for key, default in ((request, _DEFAULT_REQUEST[resource]), (limit, _DEFAULT_LIMIT[resource])):
            if key in values and values[key] < parse(default):
                above = key == limit and values.get(request, 0) > parse(default)
                section.problems.add(
                    f'{section.path}["{key}"]',
                    f"{found[key]} is less than what one container gets by default ({default})",
                    f"at least {default}",
                    found[request] if above else default,
                )


def check_gpus(problems: Problems, path: str, people: Iterable[Person], gpu: GpuSettings) -> None:
    """Nobody is promised more GPUs than the cluster can give to pods when its GPU nodes are on."""
    if not gpu.nodes:
        return
    cards = sum(GPU_INSTANCE_TYPES[node.instance_type].count for node in gpu.nodes)
    most = cards * gpu.time_slicing_replicas
    for index, person in enumerate(people):
        wanted = person.tier.quota.get(GPU_KEY, "0")
        if count(wanted) > most:
            problems.add(
                f'{path}[{index}].quota["{GPU_KEY}"]',
                f"{shown(wanted)} is more than the {most} that pods can ask for "
                f"(cards: {cards}, pods per card: {gpu.time_slicing_replicas})",
                f"at most {most}",
                str(most),
            )
