"""What Hydra finds besides files of ours: names of formats, composed, and folders of the user."""

from __future__ import annotations

from typing import ClassVar

from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

from unified_laws.cli.format_names import compose_name, format_files, is_format_name
from unified_laws.cli.paths import config_dir, user_dirs

GROUP = "format"


class FormatSource(ConfigSource):
    """Answers ``format/NAME`` for every composable NAME that has no file of its own."""

    SCHEME: ClassVar[str] = "formats"

    @staticmethod
    def scheme() -> str:
        """The scheme of its search path entry."""
        return FormatSource.SCHEME

    def load_config(self, config_path: str) -> ConfigResult:
        """Compose the named format."""
        content = compose_name(self._name(config_path), config_dir())
        return ConfigResult(
            config=OmegaConf.create(content),
            path=f"{self.scheme()}://{self.path}",
            provider=self.provider,
            header={"package": None},
        )

    def is_group(self, config_path: str) -> bool:
        """Only ``format`` is ours."""
        return config_path.strip("/") == GROUP

    def is_config(self, config_path: str) -> bool:
        """Whether the name can be composed, and is no file."""
        group, _, _ = config_path.rpartition("/")
        name = self._name(config_path)
        if group.strip("/") != GROUP or name in {file.stem for file in format_files(config_dir())}:
            return False
        return is_format_name(name, config_dir())

    def available(self) -> bool:
        """Always there."""
        return True

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """Nothing: names are unlimited."""
        del config_path, results_filter
        return []

    @staticmethod
    def _name(config_path: str) -> str:
        return config_path.rpartition("/")[2].removesuffix(".yaml")


class FormatSearchPath(SearchPathPlugin):
    """Puts the source on every search path of the process."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append ``formats://names`` and the folders of the user."""
        search_path.append(provider="unified_laws", path=f"{FormatSource.SCHEME}://names")
        for folder in user_dirs():
            search_path.append(provider="user", path=f"file://{folder}")


def register() -> None:
    """Make Hydra know both. Calling it again changes nothing."""
    SourcesRegistry.instance().register(FormatSource)
    plugins = Plugins.instance()
    if FormatSearchPath not in plugins.discover(SearchPathPlugin):
        plugins.register(FormatSearchPath)
