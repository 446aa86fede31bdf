from .artefact import (
    DistilledSet as DistilledSet,
)
from .augment.affine import (
    Affine as Affine,
)
from .augment.base import (
    Augment as Augment,
)
from .augment.crop import (
    Crop as Crop,
)
from .augment.jitter import (
    Jitter as Jitter,
)
from .augment.siamese import (
    Siamese as Siamese,
)
from .augment.transforms import (
    cropped as cropped,
)
from .bench import (
    Pair as Pair,
)
from .bench import (
    benchmark as benchmark,
)
from .bench import (
    digits_as_mnist as digits_as_mnist,
)
from .bounds import (
    Count as Count,
)
from .bounds import (
    Decay as Decay,
)
from .bounds import (
    FilePath as FilePath,
)
from .bounds import (
    Infinite as Infinite,
)
from .bounds import (
    NotNegative as NotNegative,
)
from .bounds import (
    Number as Number,
)
from .bounds import (
    OpenShare as OpenShare,
)
from .bounds import (
    Positive as Positive,
)
from .bounds import (
    PositiveOrInfinite as PositiveOrInfinite,
)
from .bounds import (
    PositiveShare as PositiveShare,
)
from .bounds import (
    Share as Share,
)
from .bounds import (
    Whole as Whole,
)
from .carriers.base import (
    Carrier as Carrier,
)
from .carriers.base import (
    DecodedModule as DecodedModule,
)
from .carriers.canvas import (
    Canvas as Canvas,
)
from .carriers.centres import (
    Centres as Centres,
)
from .carriers.centres import (
    Reconstruct as Reconstruct,
)
from .carriers.chosen import (
    Chosen as Chosen,
)
from .carriers.chosen import (
    Herding as Herding,
)
from .carriers.chosen import (
    Judged as Judged,
)
from .carriers.chosen import (
    KMeans as KMeans,
)
from .carriers.chosen import (
    KMedoids as KMedoids,
)
from .carriers.chosen import (
    Mosaic as Mosaic,
)
from .carriers.chosen import (
    Random as Random,
)
from .carriers.codes import (
    Codes as Codes,
)
from .carriers.cosines import (
    Cosines as Cosines,
)
from .carriers.formation import (
    Formation as Formation,
)
from .carriers.hallucinator import (
    Hallucinated as Hallucinated,
)
from .carriers.latents import (
    Adversarial as Adversarial,
)
from .carriers.latents import (
    Latents as Latents,
)
from .carriers.palette import (
    Palette as Palette,
)
from .carriers.picking import (
    farthest as farthest,
)
from .carriers.picking import (
    herd as herd,
)
from .carriers.picking import (
    in_turn as in_turn,
)
from .carriers.pixels import (
    Pixels as Pixels,
)
from .carriers.shared_bases import (
    SharedBases as SharedBases,
)
from .carriers.still import (
    Still as Still,
)
from .chunking import (
    chunk_bytes as chunk_bytes,
)
from .chunking import (
    chunk_size as chunk_size,
)
from .chunking import (
    slices as slices,
)
from .cli.base import (
    program as program,
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
from .datasets.base import (
    loaded as loaded,
)
from .datasets.digits import (
    Digits as Digits,
)
from .datasets.folder import (
    ImageFolder as ImageFolder,
)
from .datasets.npz import (
    Npz as Npz,
)
from .datasets.table import (
    ScikitTable as ScikitTable,
)
from .datasets.table import (
    Table as Table,
)
from .datasets.table import (
    table as table,
)
from .datasets.torchvision import (
    Cifar10 as Cifar10,
)
from .datasets.torchvision import (
    Cifar100 as Cifar100,
)
from .datasets.torchvision import (
    Fashion as Fashion,
)
from .datasets.torchvision import (
    Mnist as Mnist,
)
from .datasets.torchvision import (
    Svhn as Svhn,
)
from .device import (
    peak_mib as peak_mib,
)
from .distance import (
    Distance as Distance,
)
from .distance import (
    FilterCosine as FilterCosine,
)
from .distance import (
    Lp as Lp,
)
from .distance import (
    MagnitudeAware as MagnitudeAware,
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
from .evaluation.accuracy import (
    Accuracy as Accuracy,
)
from .evaluation.balanced import (
    Auc as Auc,
)
from .evaluation.balanced import (
    BalancedAccuracy as BalancedAccuracy,
)
from .evaluation.bars import (
    Coverage as Coverage,
)
from .evaluation.bars import (
    ErrorBar as ErrorBar,
)
from .evaluation.bars import (
    RootError as RootError,
)
from .evaluation.calibration import (
    CalibrationError as CalibrationError,
)
from .evaluation.committee import (
    Committee as Committee,
)
from .evaluation.diverged import (
    measured as measured,
)
from .evaluation.estimators import (
    Boosting as Boosting,
)
from .evaluation.estimators import (
    Estimator as Estimator,
)
from .evaluation.estimators import (
    Linear as Linear,
)
from .evaluation.explained import (
    RSquared as RSquared,
)
from .evaluation.measures import (
    Measure as Measure,
)
from .evaluation.predictions import (
    all_predictions as all_predictions,
)
from .evaluation.predictions import (
    predictions as predictions,
)
from .evaluation.preset import (
    preset as preset,
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
from .evaluation.training import Attack as Attack
from .evaluation.training import (
    fresh_nets as fresh_nets,
)
from .evaluation.training import (
    train as train,
)
from .evaluation.training_set import (
    Preprocessed as Preprocessed,
)
from .evaluation.training_set import (
    TrainingSet as TrainingSet,
)
from .exchange.base import (
    Format as Format,
)
from .exchange.base import (
    Released as Released,
)
from .exchange.rows import (
    Csv as Csv,
)
from .experiment.evaluating import (
    evaluate as evaluate,
)
from .experiment.evaluating import (
    evaluate_saved as evaluate_saved,
)
from .experiment.folder import (
    Folder as Folder,
)
from .experiment.forecast import (
    Forecast as Forecast,
)
from .experiment.forecast import (
    forecast as forecast,
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
from .experiment.reading import (
    data_set as data_set,
)
from .experiment.reading import (
    preprocess_of as preprocess_of,
)
from .experiment.reading import (
    teacher_targets_of as teacher_targets_of,
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
from .files import json_bytes as json_bytes
from .files import (
    replaced_whole as replaced_whole,
)
from .files import (
    write_whole as write_whole,
)
from .gate.base import (
    Gate as Gate,
)
from .gate.base import (
    GatePlan as GatePlan,
)
from .gate.base import (
    disjoint as disjoint,
)
from .gate.curriculum import (
    Curriculum as Curriculum,
)
from .gate.fit import (
    Fit as Fit,
)
from .gate.open import (
    Open as Open,
)
from .gate.source import (
    Source as Source,
)
from .gate.spent import (
    Spent as Spent,
)
from .gate.view import (
    LiveView as LiveView,
)
from .gate.view import (
    View as View,
)
from .gate.wrapped import (
    WrappedGate as WrappedGate,
)
from .host import (
    Host as Host,
)
from .kernels import (
    ConvTangent as ConvTangent,
)
from .kernels import (
    DenseTangent as DenseTangent,
)
from .kernels import (
    Gaussian as Gaussian,
)
from .kernels import (
    Kernel as Kernel,
)
from .kernels import (
    influences as influences,
)
from .kernels import (
    kernel_regression as kernel_regression,
)
from .kernels import (
    regularised as regularised,
)
from .kinds import (
    ItemKind as ItemKind,
)
from .labels.base import (
    Labels as Labels,
)
from .labels.expert import (
    Expert as Expert,
)
from .labels.hard import (
    Hard as Hard,
)
from .labels.soft import (
    Soft as Soft,
)
from .labels.taught import (
    Taught as Taught,
)
from .labels.vectors import (
    Vectors as Vectors,
)
from .levels import (
    RANGE_BYTES as RANGE_BYTES,
)
from .levels import (
    Bits as Bits,
)
from .levels import (
    Levels as Levels,
)
from .losses import LOSSES as LOSSES
from .losses import (
    cross_entropy as cross_entropy,
)
from .losses import (
    squared as squared,
)
from .marker import (
    HOOK_API as HOOK_API,
)
from .marker import (
    hookimpl as hookimpl,
)
from .naming import (
    labels as labels,
)
from .networks.alexnet import (
    AlexNet as AlexNet,
)
from .networks.base import (
    NetworkPlan as NetworkPlan,
)
from .networks.convnet import (
    ConvNet as ConvNet,
)
from .networks.lenet import (
    LeNet as LeNet,
)
from .networks.mixed import (
    mixed as mixed,
)
from .networks.mixed import (
    outline as outline,
)
from .networks.mlp import (
    MLP as MLP,
)
from .networks.module import (
    ModuleNetwork as ModuleNetwork,
)
from .networks.pretrained import (
    Pretrained as Pretrained,
)
from .networks.resnet import (
    ResNet18 as ResNet18,
)
from .networks.started import (
    Started as Started,
)
from .networks.vgg import (
    VGG11 as VGG11,
)
from .objectives.base import (
    LossObjective as LossObjective,
)
from .objectives.base import (
    Objective as Objective,
)
from .objectives.bptt import (
    Bptt as Bptt,
)
from .objectives.combine import (
    Sum as Sum,
)
from .objectives.contrast import (
    Contrast as Contrast,
)
from .objectives.features import (
    CharacteristicMatch as CharacteristicMatch,
)
from .objectives.features import (
    CovarianceMatch as CovarianceMatch,
)
from .objectives.features import (
    FeatureMatch as FeatureMatch,
)
from .objectives.gradient import (
    GradientMatch as GradientMatch,
)
from .objectives.layers import (
    LayerMatch as LayerMatch,
)
from .objectives.recognised import (
    Recognised as Recognised,
)
from .objectives.ridge import (
    KernelRidge as KernelRidge,
)
from .objectives.ridge import (
    TangentRidge as TangentRidge,
)
from .objectives.statistics import (
    ConvolutionMatch as ConvolutionMatch,
)
from .objectives.statistics import (
    StatisticMatch as StatisticMatch,
)
from .objectives.trajectory import (
    TrajectoryMatch as TrajectoryMatch,
)
from .optimisers import (
    Adam as Adam,
)
from .optimisers import (
    AdamW as AdamW,
)
from .optimisers import (
    Optimiser as Optimiser,
)
from .optimisers import (
    Sgd as Sgd,
)
from .packing import (
    dotted as dotted,
)
from .packing import (
    from_dict as from_dict,
)
from .packing import (
    overridden as overridden,
)
from .packing import (
    to_dict as to_dict,
)
from .parts import (
    Part as Part,
)
from .plots import (
    MARKERS as MARKERS,
)
from .plots import (
    Line as Line,
)
from .plots import (
    Panel as Panel,
)
from .plots import (
    Plot as Plot,
)
from .plots import (
    save_figure as save_figure,
)
from .policies.base import (
    Policy as Policy,
)
from .policies.early import (
    Early as Early,
)
from .policies.experts import (
    Experts as Experts,
)
from .policies.fresh import (
    Fresh as Fresh,
)
from .policies.perturbed import (
    Perturbed as Perturbed,
)
from .policies.pool import (
    Pool as Pool,
)
from .policies.queue import (
    Queue as Queue,
)
from .policies.rival import (
    Rival as Rival,
)
from .policies.side_by_side import (
    SideBySide as SideBySide,
)
from .policies.steady import (
    UntilSteady as UntilSteady,
)
from .policies.teacher import (
    Teacher as Teacher,
)
from .policies.trained import (
    TrainedOnReal as TrainedOnReal,
)
from .policies.trained import (
    TrainedOnSynthetic as TrainedOnSynthetic,
)
from .preprocess import (
    ZCA as ZCA,
)
from .preprocess import (
    Fitted as Fitted,
)
from .preprocess import (
    Identity as Identity,
)
from .preprocess import (
    Preprocess as Preprocess,
)
from .preprocess import (
    Standardise as Standardise,
)
from .published import (
    published_accuracy as published_accuracy,
)
from .recipes.kernel import (
    frepo as frepo,
)
from .recipes.kernel import (
    kip as kip,
)
from .report.comparison import (
    Comparison as Comparison,
)
from .report.comparison import (
    compare as compare,
)
from .report.picture import (
    write_rows as write_rows,
)
from .report.tables import (
    plus_minus as plus_minus,
)
from .report.tables import (
    score_cell as score_cell,
)
from .rng import (
    Streams as Streams,
)
from .rng import (
    forked as forked,
)
from .run import (
    Run as Run,
)
from .schedules import (
    Constant as Constant,
)
from .schedules import (
    Cosine as Cosine,
)
from .schedules import (
    Half as Half,
)
from .schedules import (
    Schedule as Schedule,
)
from .schedules import (
    Thirds as Thirds,
)
from .schedules import (
    Warm as Warm,
)
from .store import (
    Items as Items,
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
from .study.base import (
    over_seeds as over_seeds,
)
from .study.base import (
    overrides_of as overrides_of,
)
from .study.dask import (
    Dask as Dask,
)
from .study.engine import (
    Engine as Engine,
)
from .study.engine import (
    Local as Local,
)
from .study.engine import (
    Parallel as Parallel,
)
from .study.experiments import (
    Experiments as Experiments,
)
from .study.experiments import (
    numbers_of as numbers_of,
)
from .study.finding import (
    Finding as Finding,
)
from .study.finding import (
    spread as spread,
)
from .study.grid import (
    Grid as Grid,
)
from .study.loky import (
    Loky as Loky,
)
from .study.ray import (
    RAY_ENVIRONMENT as RAY_ENVIRONMENT,
)
from .study.ray import (
    Ray as Ray,
)
from .study.ray import (
    ray_at_home as ray_at_home,
)
from .study.repeated import (
    repeated as repeated,
)
from .study.repeated import (
    scored as scored,
)
from .study.running import (
    run_study as run_study,
)
from .study.running import (
    so_far as so_far,
)
from .study.watchdog import (
    guarded_home as guarded_home,
)
from .synthetic import (
    CarrierModule as CarrierModule,
)
from .synthetic import (
    LabelModule as LabelModule,
)
from .synthetic import (
    SyntheticSet as SyntheticSet,
)
from .tensors import (
    HoldsTensors as HoldsTensors,
)
from .tensors import (
    LabelledTensors as LabelledTensors,
)
from .tensors import (
    read_tensors as read_tensors,
)
from .tensors import (
    write_tensors as write_tensors,
)
from .types import (
    Batch as Batch,
)
from .types import (
    Call as Call,
)
from .types import (
    Citation as Citation,
)
from .types import (
    Column as Column,
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
    ItemLoss as ItemLoss,
)
from .types import (
    Mixing as Mixing,
)
from .types import (
    Network as Network,
)
from .types import (
    Params as Params,
)
from .types import (
    Progress as Progress,
)
from .types import (
    Replay as Replay,
)
from .types import (
    Transform as Transform,
)
from .types import (
    WrappedNetwork as WrappedNetwork,
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
