"""Hugging Face's Trainer around a sampler, on made-up sentences: the first word decides."""

import tempfile

import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

from prune_env import PruningSampler
from prune_env.integrations.transformers import PruningTrainerMixin

tokens = torch.randint(3, 20, (600, 8), generator=torch.Generator().manual_seed(0))
train = [{"input_ids": one, "labels": int(one[0] > 11)} for one in tokens]


class PruningTrainer(PruningTrainerMixin, Trainer):
    """A Trainer, or any derived from it, such as TRL's SFTTrainer."""


torch.manual_seed(0)
config = BertConfig(
    vocab_size=20,
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=32,
    max_position_embeddings=8,
)
sampler = PruningSampler(len(train), batch_size=16, budget=6, agent="infobatch", keep_fraction=0.4)
with tempfile.TemporaryDirectory() as folder:
    trainer = PruningTrainer(
        BertForSequenceClassification(config),
        TrainingArguments(
            folder,
            per_device_train_batch_size=16,
            learning_rate=0.003,
            save_steps=100,
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
        ),
        train_dataset=train,
        sampler=sampler,
    )
    trainer.train()  # or trainer.train(resume_from_checkpoint=True)

with torch.no_grad():
    logits = trainer.model.eval()(tokens).logits
right = logits.argmax(1) == (tokens[:, 0] > 11)
print(f"{trainer.state.global_step} updates, accuracy {right.float().mean():.3f}")
