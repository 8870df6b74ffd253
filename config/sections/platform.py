"""What runs: Kubernetes release and platform, and the YAML of others that goes into the cluster."""

from __future__ import annotations

from collections.abc import Mapping

from config.model import KubeflowSettings, ManifestSource
from config.sections.nodes import AMI_FORM, ami_id, ami_lookup
from config.validation import Section, below_root
from config.versions import RELEASES, UPSTREAM_MANIFESTS, KubernetesRelease


def platform(section: Section) -> tuple[KubernetesRelease, str, str]:
    """The Kubernetes release, the platform and the AMI pin that all nodes share ("" when there is none)."""
    release = RELEASES[section.choice("kubernetes", RELEASES, max(RELEASES))]
    known = sorted({name for other in RELEASES.values() for name in other.platforms})
    name = section.choice("os", known, release.platforms[0])
    if name not in release.platforms:
        section.refuse(
            "os",
            f"{name} is not a platform of Kubernetes {release.minor}",
            ", ".join(release.platforms),
            release.platforms[0],
        )
    ami = section.take("ami")
    try:
        ami = "" if ami is None else ami_id(ami)
    except ValueError as error:
        section.problems.add_lookup(section.key("ami"), str(error), AMI_FORM, ami_lookup(name))
    section.finish()
    return release, name, str(ami)


def kubeflow(section: Section) -> KubeflowSettings:
    profiles = section.choice("profiles", ("controller", "none"), "none")
    section.finish()
    return KubeflowSettings(profiles=profiles)


def manifests(section: Section, release: KubernetesRelease) -> Mapping[str, ManifestSource]:
    """Where upstream YAML comes from: upstream's release, or a path below the project's root."""
    sources = {}
    for name, urls in UPSTREAM_MANIFESTS.items():
        path = section.value(
            name,
            below_root,
            accepted="a path below the project's root",
            example=f"manifests/{name}.yaml",
            default=None,
        )
        upstream = tuple(url.format(calico=release.calico) for url in urls)
        sources[name] = ManifestSource(name=name, locations=(path,) if path else upstream)
    section.finish()
    return sources
