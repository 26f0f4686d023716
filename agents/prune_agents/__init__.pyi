"""What prune_agents offers: every public name, by what it is for."""

# isort: skip_file

# Rules that decide sample by sample; derive your own from these.
from .base import LossAgent as LossAgent
from .base import MaskAgent as MaskAgent
from .base import WeightsAgent as WeightsAgent
from .base import Held as Held
from .view import SampleTableView as SampleTableView
from .view import Memory as Memory

# Baselines.
from .rules.baselines import Full as Full
from .rules.baselines import RandomDynamic as RandomDynamic
from .rules.baselines import Short as Short
from .rules.baselines import StaticRandom as StaticRandom

# Rules on losses.
from .rules.distrust import Distrust as Distrust
from .rules.epsilon_greedy import EpsilonGreedy as EpsilonGreedy
from .rules.ies import IES as IES
from .rules.infobatch import InfoBatch as InfoBatch
from .rules.kakurenbo import Kakurenbo as Kakurenbo
from .rules.loss_proportional import LossProportional as LossProportional
from .rules.losses import Forgotten as Forgotten
from .rules.losses import Highest as Highest
from .rules.losses import Lowest as Lowest
from .rules.losses import Middle as Middle
from .rules.losses import Stalest as Stalest
from .rules.orderdp import OrderDP as OrderDP
from .rules.pdd import PDD as PDD
from .rules.rcap import RCAP as RCAP
from .rules.repb import RePB as RePB
from .rules.rs2 import RS2 as RS2
from .rules.seta import SeTa as SeTa
from .rules.small_loss import SmallLoss as SmallLoss
from .rules.ucb import UCB as UCB

# Rules that share out an epoch among groups; derive your own from the first.
from .groups import GroupAgent as GroupAgent
from .groups import GroupView as GroupView
from .rules.doremi import DoReMi as DoReMi
from .rules.odm import ODM as ODM
from .rules.stratified import Stratified as Stratified
from .rules.temperature import Temperature as Temperature

# Rules on scores of a training beforehand.
from .rules.aum import AUM as AUM
from .rules.ccs import CCS as CCS
from .rules.el2n import EL2N as EL2N
from .rules.forgetting import Forgetting as Forgetting
from .rules.grand import GraNd as GraNd
from .rules.rho_loss import RhoLoss as RhoLoss

# What goes around an agent.
from .modifiers.anneal import Anneal as Anneal
from .modifiers.class_balance import ClassBalance as ClassBalance
from .modifiers.modifier import Modifier as Modifier
from .modifiers.rescale import Rescale as Rescale
from .modifiers.warm_up import WarmUp as WarmUp

# Learned policies.
from .learning.config import Training as Training
from .learning.judge import Heldout as Heldout
from .learning.panel_callback import PanelCallback as PanelCallback
from .learning.policy import Learned as Learned
from .learning.policy import Policy as Policy
from .learning.policy import bundled_policy as bundled_policy
from .learning.policy import load_policy as load_policy
from .learning.train import train as train
from .learning.vec_env import JointVecEnv as JointVecEnv

__all__: list[str]
