from . import plots as plots
from . import plugin as plugin
from . import testing as testing
from .artefact import (
    DistilledSet as DistilledSet,
)
from .augment.base import (
    Augment as Augment,
)
from .carriers.base import (
    Carrier as Carrier,
)
from .carriers.pixels import (
    Pixels as Pixels,
)
from .cli.base import (
    progress as progress,
)
from .composition import (
    Recipe as Recipe,
)
from .composition import (
    method as method,
)
from .context import (
    Context as Context,
)
from .data import (
    RealData as RealData,
)
from .datasets.base import (
    DataSet as DataSet,
)
from .errors import (
    BadArtefact as BadArtefact,
)
from .errors import (
    BadCheckpoint as BadCheckpoint,
)
from .errors import (
    BadData as BadData,
)
from .errors import (
    CasesFailed as CasesFailed,
)
from .errors import (
    DdcoreError as DdcoreError,
)
from .errors import (
    FolderHeld as FolderHeld,
)
from .errors import (
    LossDiverged as LossDiverged,
)
from .errors import (
    PluginBroken as PluginBroken,
)
from .errors import (
    RecipeRefused as RecipeRefused,
)
from .errors import (
    StopRun as StopRun,
)
from .errors import (
    UnknownName as UnknownName,
)
from .evaluation.measures import (
    Measure as Measure,
)
from .evaluation.protocol import (
    Protocol as Protocol,
)
from .evaluation.scores import (
    Score as Score,
)
from .evaluation.scores import (
    Scores as Scores,
)
from .experiment.evaluating import (
    evaluate as evaluate,
)
from .experiment.evaluating import (
    evaluate_saved as evaluate_saved,
)
from .experiment.exchanging import (
    coarsened as coarsened,
)
from .experiment.exchanging import (
    export as export,
)
from .experiment.exchanging import (
    read_released as read_released,
)
from .experiment.fair import (
    FairCard as FairCard,
)
from .experiment.fair import (
    fair_card as fair_card,
)
from .experiment.folder import (
    Folder as Folder,
)
from .experiment.plan import (
    Experiment as Experiment,
)
from .experiment.plan import (
    Settings as Settings,
)
from .experiment.reading import (
    cite as cite,
)
from .experiment.running import (
    resume as resume,
)
from .experiment.running import (
    run_experiment as run_experiment,
)
from .experiment.running import (
    run_or_resume as run_or_resume,
)
from .gate.base import (
    Gate as Gate,
)
from .gate.base import (
    GatePlan as GatePlan,
)
from .gate.fit import (
    Fit as Fit,
)
from .gate.view import (
    LiveView as LiveView,
)
from .gate.view import (
    View as View,
)
from .host import (
    Host as Host,
)
from .labels.base import (
    Labels as Labels,
)
from .marker import (
    HOOK_API as HOOK_API,
)
from .marker import __version__ as __version__
from .marker import (
    hookimpl as hookimpl,
)
from .networks.base import (
    NetworkPlan as NetworkPlan,
)
from .networks.convnet import (
    ConvNet as ConvNet,
)
from .networks.mlp import (
    MLP as MLP,
)
from .networks.module import (
    ModuleNetwork as ModuleNetwork,
)
from .objectives.base import (
    LossObjective as LossObjective,
)
from .objectives.base import (
    Objective as Objective,
)
from .parts import (
    Part as Part,
)
from .policies.base import (
    Policy as Policy,
)
from .preprocess import (
    Preprocess as Preprocess,
)
from .preprocess import (
    Standardise as Standardise,
)
from .report.comparison import (
    Comparison as Comparison,
)
from .report.comparison import (
    compare as compare,
)
from .rng import (
    Streams as Streams,
)
from .run import (
    Run as Run,
)
from .store import (
    Store as Store,
)
from .study.base import (
    Case as Case,
)
from .study.base import (
    Found as Found,
)
from .study.base import (
    Study as Study,
)
from .study.dask import (
    Dask as Dask,
)
from .study.engine import (
    Engine as Engine,
)
from .study.experiments import (
    Experiments as Experiments,
)
from .study.finding import (
    Finding as Finding,
)
from .study.grid import (
    Grid as Grid,
)
from .study.loky import (
    Loky as Loky,
)
from .study.ray import (
    Ray as Ray,
)
from .study.running import (
    run_study as run_study,
)
from .types import (
    Batch as Batch,
)
from .types import (
    Citation as Citation,
)
from .types import (
    DataCard as DataCard,
)
from .types import (
    Draw as Draw,
)
from .types import (
    Group as Group,
)
from .types import (
    Params as Params,
)
from .update import (
    Update as Update,
)
from .verbs import (
    distill as distill,
)
from .verbs import (
    load as load,
)
from .verbs import (
    load_distilled as load_distilled,
)
from .verbs import (
    protocol as protocol,
)
from .verbs import (
    recipe as recipe,
)
