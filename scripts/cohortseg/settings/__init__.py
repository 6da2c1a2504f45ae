"""Settings: frozen models of the config and the sample sheet, and the only place where a default is written."""

from cohortseg.settings.blocks import (
    PipelineSettings,
    PostprocessSettings,
    QuantifySettings,
    RasteriseSettings,
    ReportSettings,
    StitchSettings,
)
from cohortseg.settings.compare import ComparedModel, CompareSettings
from cohortseg.settings.convert import ConvertSettings
from cohortseg.settings.export import EXPORT_FILES, ExportFormat, ExportSettings
from cohortseg.settings.load import load_block, load_settings
from cohortseg.settings.models import SegmentSettings, Settings
from cohortseg.settings.normalise import ChannelNormalise, NormaliseSettings
from cohortseg.settings.qc import QcSettings
from cohortseg.settings.sheet import Sample, parse_sheet

__all__ = [
    "EXPORT_FILES",
    "ChannelNormalise",
    "CompareSettings",
    "ComparedModel",
    "ConvertSettings",
    "ExportFormat",
    "ExportSettings",
    "NormaliseSettings",
    "PipelineSettings",
    "PostprocessSettings",
    "QcSettings",
    "QuantifySettings",
    "RasteriseSettings",
    "ReportSettings",
    "Sample",
    "SegmentSettings",
    "Settings",
    "StitchSettings",
    "load_block",
    "load_settings",
    "parse_sheet",
]
