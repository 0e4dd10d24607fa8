"""From result tables to answers: statistics over seeds, paired differences, figures, a report.

Every table is a pandas frame and every figure a plotly figure, in one line each::

    import analysis
    analysis.summarise(cells)
    analysis.paired(cells)
    analysis.guidance_heatmaps(cells, dataset="cifar10").show()

The input is one frame with a row per requested cell (`analysis.columns` describes it). Nothing is
imported until it is used, so `import analysis` is cheap; torch and Ray are never imported at all.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis import reference
    from analysis.attack_checks import attack_warnings
    from analysis.attacks import robustness, robustness_averages
    from analysis.attribution import attribution_table, attribution_ways
    from analysis.best import best_configurations, win_shares
    from analysis.cells import summarise, variants
    from analysis.classes import class_scores, error_reduction
    from analysis.comparison import compare, describe_comparison
    from analysis.convergence import convergence_table, trial_convergence
    from analysis.curves import loss_curves
    from analysis.effects import dataset_effects, factor_effects
    from analysis.equal_accuracy import robustness_at_equal_accuracy
    from analysis.expectations import expected_settings
    from analysis.export import ExportError, export_figure, export_figures, format_of
    from analysis.figures.attack_boxplots import attack_boxplots
    from analysis.figures.attack_lines import attack_lines
    from analysis.figures.attribution import attribution_violins
    from analysis.figures.catalogue import FIGURES, draw_figure, figure_kind
    from analysis.figures.choice import attacks_of
    from analysis.figures.comparison import comparison_figure
    from analysis.figures.confusion import confusion_heatmaps
    from analysis.figures.convergence import convergence_differences
    from analysis.figures.effects import variance_shares
    from analysis.figures.fgsm import fgsm_summary
    from analysis.figures.heatmap import guidance_heatmaps
    from analysis.figures.label_correction import label_correction
    from analysis.figures.losses import training_losses
    from analysis.figures.seeds import seed_boxplots
    from analysis.figures.stated import stated_figure
    from analysis.figures.summary_lines import summary_lines
    from analysis.figures.switch_epoch import metric_over_switch_epoch
    from analysis.figures.teacher_losses import teacher_losses
    from analysis.figures.teachers import teacher_boxplots
    from analysis.figures.tradeoff import robustness_tradeoff
    from analysis.findings import study_findings
    from analysis.measures import measure
    from analysis.pairs import paired
    from analysis.publications import published
    from analysis.questions import answers
    from analysis.report import ReportInfo, render_report, write_report
    from analysis.search import search_choices, search_history, search_points
    from analysis.seed_spread import overall_stability, stability
    from analysis.stated_tables import stated_table
    from analysis.teachers import teacher_table

__all__ = [
    "FIGURES",
    "ExportError",
    "ReportInfo",
    "answers",
    "attack_boxplots",
    "attack_lines",
    "attack_warnings",
    "attacks_of",
    "attribution_table",
    "attribution_violins",
    "attribution_ways",
    "best_configurations",
    "class_scores",
    "compare",
    "comparison_figure",
    "confusion_heatmaps",
    "convergence_differences",
    "convergence_table",
    "dataset_effects",
    "describe_comparison",
    "draw_figure",
    "error_reduction",
    "expected_settings",
    "export_figure",
    "export_figures",
    "factor_effects",
    "fgsm_summary",
    "figure_kind",
    "format_of",
    "guidance_heatmaps",
    "label_correction",
    "loss_curves",
    "measure",
    "metric_over_switch_epoch",
    "overall_stability",
    "paired",
    "published",
    "reference",
    "render_report",
    "robustness",
    "robustness_at_equal_accuracy",
    "robustness_averages",
    "robustness_tradeoff",
    "search_choices",
    "search_history",
    "search_points",
    "seed_boxplots",
    "stability",
    "stated_figure",
    "stated_table",
    "study_findings",
    "summarise",
    "summary_lines",
    "teacher_boxplots",
    "teacher_losses",
    "teacher_table",
    "training_losses",
    "trial_convergence",
    "variance_shares",
    "variants",
    "win_shares",
    "write_report",
]

_MODULE_OF = {
    "answers": "questions",
    "attack_boxplots": "figures.attack_boxplots",
    "attack_lines": "figures.attack_lines",
    "attack_warnings": "attack_checks",
    "attacks_of": "figures.choice",
    "attribution_table": "attribution",
    "attribution_violins": "figures.attribution",
    "attribution_ways": "attribution",
    "best_configurations": "best",
    "class_scores": "classes",
    "compare": "comparison",
    "comparison_figure": "figures.comparison",
    "confusion_heatmaps": "figures.confusion",
    "convergence_differences": "figures.convergence",
    "convergence_table": "convergence",
    "dataset_effects": "effects",
    "describe_comparison": "comparison",
    "draw_figure": "figures.catalogue",
    "error_reduction": "classes",
    "expected_settings": "expectations",
    "export_figure": "export",
    "export_figures": "export",
    "ExportError": "export",
    "factor_effects": "effects",
    "fgsm_summary": "figures.fgsm",
    "figure_kind": "figures.catalogue",
    "FIGURES": "figures.catalogue",
    "format_of": "export",
    "guidance_heatmaps": "figures.heatmap",
    "label_correction": "figures.label_correction",
    "loss_curves": "curves",
    "measure": "measures",
    "metric_over_switch_epoch": "figures.switch_epoch",
    "overall_stability": "seed_spread",
    "paired": "pairs",
    "published": "publications",
    "render_report": "report",
    "ReportInfo": "report",
    "robustness": "attacks",
    "robustness_at_equal_accuracy": "equal_accuracy",
    "robustness_averages": "attacks",
    "robustness_tradeoff": "figures.tradeoff",
    "search_choices": "search",
    "search_history": "search",
    "search_points": "search",
    "seed_boxplots": "figures.seeds",
    "stability": "seed_spread",
    "stated_figure": "figures.stated",
    "stated_table": "stated_tables",
    "study_findings": "findings",
    "summarise": "cells",
    "summary_lines": "figures.summary_lines",
    "teacher_boxplots": "figures.teachers",
    "teacher_losses": "figures.teacher_losses",
    "teacher_table": "teachers",
    "training_losses": "figures.losses",
    "trial_convergence": "convergence",
    "variance_shares": "figures.effects",
    "variants": "cells",
    "win_shares": "best",
    "write_report": "report",
}


def __getattr__(name: str) -> Any:
    if name == "reference":
        return import_module("analysis.reference")
    if name in _MODULE_OF:
        return getattr(import_module(f"analysis.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module 'analysis' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
