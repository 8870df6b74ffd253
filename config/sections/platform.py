"""What runs: the version row and platform, and the YAML of others that goes into the cluster."""

from __future__ import annotations

from collections.abc import Mapping

from config.model import KubeflowSettings, ManifestSource
from config.sections.nodes import AMI_FORM, ami_id
from config.validation import Section, below_root, one_of
from config.versions import ROWS, UPSTREAM_MANIFESTS, VersionRow


def platform(section: Section) -> tuple[VersionRow, str, str]:
    """The version row, the platform and the AMI pin that all nodes share ("" when there is none)."""
    rows = ", ".join(ROWS)
    newest = max(ROWS)
    row = ROWS[
        section.value(
            "kubernetes",
            one_of(*ROWS),
            accepted=f"one of the rows {rows}, quoted",
            example=newest,
            default=newest,
        )
    ]
    known = sorted({name for other in ROWS.values() for name in other.platforms})
    name = section.value(
        "os", one_of(*known), accepted=", ".join(known), example=known[0], default=row.platforms[0]
    )
    if name not in row.platforms:
        section.problems.add(
            section.key("os"),
            f"{name} is not a platform of Kubernetes {row.minor}",
            ", ".join(row.platforms),
            row.platforms[0],
        )
    ami = section.value("ami", ami_id, accepted=AMI_FORM, example="ami-00000000", default="")
    section.finish()
    return row, name, ami


def kubeflow(section: Section) -> KubeflowSettings:
    profiles = section.value(
        "profiles", one_of("controller", "none"), accepted="controller, none", example="none", default="none"
    )
    section.finish()
    return KubeflowSettings(profiles=profiles)


def manifests(section: Section, row: VersionRow) -> Mapping[str, ManifestSource]:
    """Where upstream YAML comes from: the row's release, or a path below the project's root."""
    sources = {}
    for name, urls in UPSTREAM_MANIFESTS.items():
        path = section.value(
            name,
            below_root,
            accepted="a path below the project's root",
            example=f"manifests/{name}.yaml",
            default=None,
        )
        upstream = tuple(url.format(calico=row.calico) for url in urls)
        sources[name] = ManifestSource(name=name, locations=(path,) if path else upstream)
    section.finish()
    return sources
