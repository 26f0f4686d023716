"""What prune_env offers: every public name, by what it is for.

Public beside these are, for packages of agents, the modules `prune_env.arguments` (checks of
arguments), `prune_env.extras` (what not everybody has installed) and those of `prune_env.storage`
(how things are kept on disk).
"""

# isort: skip_file

# The environment.
from .env import DataPruningEnv as DataPruningEnv
from .vector import DataPruningVectorEnv as DataPruningVectorEnv
from .vector import MemberEnv as MemberEnv
from .vector import advance as advance
from .rendering.snapshot import Snapshot as Snapshot

# Agents in a training loop of one's own.
from .loop.indexed import Indexed as Indexed
from .loop.indexed import IndexedCollate as IndexedCollate
from .loop.sampler import PruningSampler as PruningSampler
from .training.threads import tune_process as tune_process

# What is trained.
from .problem.data import Dataset as Dataset
from .problem.data import Samples as Samples
from .problem.instance import Instance as Instance
from .problem.objectives import AbsoluteError as AbsoluteError
from .problem.objectives import Batch as Batch
from .problem.objectives import BinaryCrossEntropy as BinaryCrossEntropy
from .problem.objectives import CrossEntropy as CrossEntropy
from .problem.objectives import NextToken as NextToken
from .problem.objectives import Objective as Objective
from .problem.objectives import SquaredError as SquaredError
from .problem.recipes import Recipe as Recipe
from .problem.scenarios import Confusion as Confusion
from .problem.scenarios import Copies as Copies
from .problem.scenarios import Drift as Drift
from .problem.scenarios import Duplicates as Duplicates
from .problem.scenarios import Imbalance as Imbalance
from .problem.scenarios import Noise as Noise
from .problem.scenarios import Scenario as Scenario
from .problem.scenarios import Tail as Tail
from .problem.scenarios import ValidationNoise as ValidationNoise
from .problem.tasks import Task as Task
from .problem.tasks import adopt_factories as adopt_factories
from .problem.tasks import get_task as get_task
from .problem.tasks import own_factories as own_factories
from .problem.tasks import register_task as register_task
from .problem.tasks import task_names as task_names

# What is seen, said and paid.
from .decision.amount import amount_arguments as amount_arguments
from .decision.classes import EVIDENCE as EVIDENCE
from .decision.classes import ClassKnowledge as ClassKnowledge
from .decision.clock import FORWARD_COST as FORWARD_COST
from .decision.composition import CUT as CUT
from .decision.composition import MOST_OF_CLASS as MOST_OF_CLASS
from .decision.composition import Composition as Composition
from .decision.encodings import COMPOSITION as COMPOSITION
from .decision.encodings import ENCODINGS as ENCODINGS
from .decision.encodings import RULE_ENTRIES as RULE_ENTRIES
from .decision.encodings import WITHIN as WITHIN
from .decision.groups import GROUP_COLUMN as GROUP_COLUMN
from .decision.groups import GROUP_COLUMNS as GROUP_COLUMNS
from .decision.interface import Interface as Interface
from .decision.observation import CLASS_COLUMNS as CLASS_COLUMNS
from .decision.observation import RUN_COLUMN as RUN_COLUMN
from .decision.observation import RUN_COLUMNS as RUN_COLUMNS
from .decision.observation import SAMPLE_COLUMN as SAMPLE_COLUMN
from .decision.observation import SAMPLE_COLUMNS as SAMPLE_COLUMNS
from .decision.observation import SUMMARY_COLUMNS as SUMMARY_COLUMNS
from .decision.reward import REWARDS as REWARDS
from .decision.reward import step_rate as step_rate
from .decision.selection import gumbel_top as gumbel_top
from .decision.selection import lower_median as lower_median
from .decision.selection import quotas as quotas
from .decision.selection import random_subset as random_subset
from .decision.selection import top as top
from .decision.statistics import FEATURES as FEATURES
from .decision.statistics import LOSS_LIMIT as LOSS_LIMIT
from .flow import EpochResult as EpochResult
from .flow import Evaluation as Evaluation
from .flow import Outcome as Outcome
from .flow import Selection as Selection

# Agents, and what compares them.
from .agent import Agent as Agent
from .agent import check_agent as check_agent
from .state import pack as pack
from .state import unpack as unpack
from .experiment.agents import agents_of as agents_of
from .experiment.agents import make_agent as make_agent
from .experiment.agents import needs as needs
from .experiment.agents import spec_value as spec_value
from .experiment.needs import check_told as check_told
from .experiment.comparison import Comparison as Comparison
from .experiment.intervals import compare as compare
from .experiment.intervals import mean_interval as mean_interval
from .experiment.playing import run_episode as run_episode
from .experiment.provenance import evidence as evidence
from .experiment.report import evaluation_table as evaluation_table
from .experiment.report import summary_table as summary_table
from .experiment.results import Results as Results
from .experiment.spelling import spec_of as spec_of
from .experiment.seeds import parse_seeds as parse_seeds
from .experiment.setting import Setting as Setting
from .experiment.truth import Truth as Truth
from .experiment.truth import on_test_data as on_test_data
from .experiment.truth import truth as truth
from .training.pretraining import PretrainedNetwork as PretrainedNetwork
from .training.pretraining import Pretraining as Pretraining

# For packages that add a command to the command line.
from .experiment.cli import Seeds as Seeds
from .experiment.cli import Several as Several
from .experiment.user_error import UserError as UserError

__version__: str
__all__: list[str]
