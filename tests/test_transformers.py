"""Hugging Face's Trainer around a sampler: a plain loop's weights, checkpoints, refusals."""

import warnings

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from prune_env.integrations.losses import sample_losses
from prune_env.loop.sampler import PruningSampler

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    from transformers import Trainer, TrainerCallback, TrainingArguments

    from prune_env.integrations.transformers import PruningTrainerMixin

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*pin_memory"),
]
RNG = np.random.default_rng(0)
TOKENS = torch.tensor(RNG.integers(3, 20, (120, 6)))
LABELS = (TOKENS[:, 0] > 11).long()
SENTENCES = [{"input_ids": one, "labels": label} for one, label in zip(TOKENS, LABELS, strict=True)]
LENGTHS = torch.tensor(RNG.integers(2, 7, 120))
TEXTS = [
    {"input_ids": one, "labels": torch.where(torch.arange(6) < length, one, -100)}
    for one, length in zip(TOKENS, LENGTHS, strict=True)
]


class PruningTrainer(PruningTrainerMixin, Trainer):
    pass


def classifier(dropout=0.0):
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=20,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=8,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    return transformers.BertForSequenceClassification(config)


def language_model():
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=20, n_positions=8, n_embd=8, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
    )
    config.resid_pdrop = config.embd_pdrop = config.attn_pdrop = 0.0
    return transformers.GPT2LMHeadModel(config)


def make_sampler(agent="infobatch", accumulate=1, **arguments):
    given = {"batch_size": 8, "budget": 2.5, "keep_fraction": 0.4, "labels": LABELS}
    return PruningSampler(120, agent=agent, accumulate=accumulate, **(given | arguments))


def arguments(folder, **settings):
    given = {
        "output_dir": str(folder),
        "per_device_train_batch_size": 8,
        "learning_rate": 0.01,
        "report_to": [],
        "save_strategy": "no",
        "disable_tqdm": True,
        "use_cpu": True,
        "optim": "sgd",
        "max_grad_norm": 0.0,
    }
    return TrainingArguments(**(given | settings))


def train(folder, model, data, sampler, resume=None, **settings):
    trainer = PruningTrainer(
        model,
        arguments(folder, gradient_accumulation_steps=sampler.accumulate, **settings),
        train_dataset=data,
        eval_dataset=data[:8],
        sampler=sampler,
    )
    trainer.train(resume_from_checkpoint=resume)
    return trainer


def weights(model):
    return torch.nn.utils.parameters_to_vector(model.parameters()).detach()


@pytest.mark.parametrize("agent", ["infobatch", "ucb+anneal:0.3", "forgotten"])
@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize(("make", "data"), [(classifier, SENTENCES), (language_model, TEXTS)])
def test_the_weights_are_those_of_a_plain_loop(agent, accumulate, make, data, tmp_path):
    if agent == "forgotten" and make is language_model:
        with pytest.raises(ValueError, match="`correct` must be given, since Forgotten reads it"):
            train(tmp_path, make(), data, make_sampler(agent))
        return
    sampler, network, updates = make_sampler(agent, accumulate), make().train(), 0
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, sampler.num_updates)
    for _ in sampler.epochs():
        for number, (batch, indices) in enumerate(sampler.loader(data), start=1):
            logits = network(**batch).logits
            losses, correct = sample_losses(logits, batch["labels"], shifted=make is language_model)
            sampler.loss(losses, indices, correct).backward()
            if number % accumulate == 0:
                optimiser.step()
                optimiser.zero_grad()
                schedule.step()
                updates += 1
    there = make_sampler(agent, accumulate)
    trainer = train(tmp_path, make(), data, there)
    assert trainer.state.global_step == updates == there.num_updates
    assert there.done
    assert there.work == sampler.work
    torch.testing.assert_close(weights(trainer.model), weights(network), rtol=1e-5, atol=1e-6)
    for name, column in there.statistics.items():
        np.testing.assert_allclose(column, sampler.statistics[name], atol=1e-5, err_msg=name)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_every_checkpoint_goes_on_to_the_same_weights(accumulate, tmp_path):
    def run(folder, resume=None):
        sampler = make_sampler("ucb+anneal:0.3", accumulate)
        network = classifier(dropout=0.2)
        settings = {"save_strategy": "steps", "save_steps": 4}
        return train(folder, network, SENTENCES, sampler, resume, **settings)

    whole = run(tmp_path)
    folders = sorted(tmp_path.glob("checkpoint-*"))
    assert len(folders) >= 4
    for folder in folders:
        trainer = run(tmp_path / "again", str(folder))
        assert trainer.sampler.done
        assert trainer.state.global_step == trainer.sampler.num_updates
        assert torch.equal(weights(trainer.model), weights(whole.model)), folder


class Reporting(TrainerCallback):
    def __init__(self, sampler, when):
        self.sampler, self.when = sampler, when

    def on_epoch_end(self, args, state, control, **kwargs):
        self.report("epoch")

    def on_evaluate(self, args, state, control, **kwargs):
        self.report("evaluation")

    def report(self, when):
        if when == self.when:
            self.sampler.report(validation_metric=0.5, validation_loss=1.0, learning_rate=0.5)


def test_validation_results_are_reported_as_an_epoch_ends_or_when_it_is_evaluated(tmp_path):
    def run(when):
        sampler = make_sampler("learned")
        trainer = PruningTrainer(
            classifier(),
            arguments(tmp_path, eval_strategy="epoch"),
            train_dataset=SENTENCES,
            eval_dataset=SENTENCES[:8],
            sampler=sampler,
            callbacks=[Reporting(sampler, when)],
        )
        trainer.train()
        return sampler

    early, late = run("epoch"), run("evaluation")
    assert early.done
    assert late.done
    for name, column in early.statistics.items():
        np.testing.assert_array_equal(late.statistics[name], column, err_msg=name)
    with pytest.raises(RuntimeError, match="Learned observes validation results: call `report"):
        run("never")


class EpochCounter(TrainerCallback):
    evaluated = 0

    def on_evaluate(self, args, state, control, **kwargs):
        self.evaluated += 1


def test_an_epoch_is_one_of_the_samplers_and_evaluation_is_as_ever(tmp_path):
    sampler = make_sampler("ucb")
    trainer = PruningTrainer(
        classifier(),
        arguments(tmp_path, eval_strategy="epoch", save_strategy="epoch"),
        train_dataset=SENTENCES,
        eval_dataset=SENTENCES[:8],
        sampler=sampler,
        callbacks=[counter := EpochCounter()],
    )
    trainer.train()
    assert counter.evaluated == len(list(tmp_path.glob("checkpoint-*"))) == 7
    network = trainer.model.eval()
    logits = network(TOKENS[:8]).logits
    expected = F.cross_entropy(logits, LABELS[:8]).item()
    assert trainer.evaluate()["eval_loss"] == pytest.approx(expected, abs=1e-4)


def test_workers_bring_the_batches(tmp_path):
    trainer = train(
        tmp_path, classifier(), SENTENCES, make_sampler("rs2"), dataloader_num_workers=2
    )
    assert trainer.state.global_step == trainer.sampler.num_updates


@pytest.mark.parametrize(
    ("settings", "sampler", "message"),
    [
        ({"per_device_train_batch_size": 4}, {}, "train_batch_size` must be 8, got 4: as the"),
        ({"gradient_accumulation_steps": 2}, {}, "`gradient_accumulation_steps` must be 1, got 2"),
        ({"max_steps": 5}, {}, "`max_steps` must be 37, got 5: or left out"),
        ({"auto_find_batch_size": True}, {}, "`auto_find_batch_size` must be False"),
        ({"label_smoothing_factor": 0.1}, {}, "got 0.1: override `sample_losses`"),
        ({}, {"whole_batches": False}, "`num_updates` is not known"),
    ],
)
def test_arguments_that_would_train_otherwise_are_refused(settings, sampler, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        PruningTrainer(
            classifier(),
            arguments(tmp_path, **settings),
            train_dataset=SENTENCES,
            sampler=make_sampler(**sampler),
        )


def test_a_checkpoint_without_its_sampler_is_named(tmp_path):
    train(tmp_path, classifier(), SENTENCES, make_sampler(), save_strategy="steps", save_steps=20)
    file = tmp_path / "checkpoint-20" / "prune_env_sampler.pt"
    with pytest.raises(ValueError, match="agent 'infobatch' there and 'ucb' here"):
        train(tmp_path, classifier(), SENTENCES, make_sampler("ucb"), resume=str(file.parent))
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(
        ValueError, match=r"got none that is whole in .*checkpoint-20/prune_env_sam"
    ):
        train(tmp_path, classifier(), SENTENCES, make_sampler(), resume=str(file.parent))


@pytest.mark.parametrize("torn", ["missing", "half"])
def test_a_checkpoint_that_was_never_finished_is_passed_over(torn, tmp_path):
    """As a process leaves it that is killed while it makes one."""
    steps = {"save_strategy": "steps", "save_steps": 4}
    whole = train(tmp_path, classifier(0.2), SENTENCES, make_sampler(), **steps)
    *_, before, last = sorted(int(one.name[11:]) for one in tmp_path.glob("checkpoint-*"))
    file = tmp_path / f"checkpoint-{last}" / "prune_env_sampler.pt"
    content = file.read_bytes()
    file.unlink()
    if torn == "half":
        file.write_bytes(content[: len(content) // 2])
    (tmp_path / "checkpoint-notes").mkdir()
    began = []
    sampler = make_sampler()
    load = sampler.load_state_dict
    sampler.load_state_dict = lambda state: (load(state), began.append(sampler.progress))
    again = train(tmp_path, classifier(0.2), SENTENCES, sampler, resume=True, **steps)
    assert began == [pytest.approx(before / sampler.num_updates, abs=0.02)]
    assert torch.equal(weights(again.model), weights(whole.model))
    for left in tmp_path.glob("*/prune_env_sampler.pt"):
        left.unlink()
    with pytest.raises(ValueError, match=r"got none that is whole in .*; name a checkpoint of a"):
        train(tmp_path, classifier(), SENTENCES, make_sampler(), resume=True)


def test_a_trainer_of_trl_goes_on_to_the_same_weights(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trl, datasets = pytest.importorskip("trl"), pytest.importorskip("datasets")
    from tokenizers import Tokenizer, models, pre_tokenizers  # comes with transformers

    words = {word: number for number, word in enumerate(["<pad>", "<eos>", "a", "b", "c", "d"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<eos>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>"
    )
    texts = [" ".join("abcd"[i * j % 4] for j in range(3 + i % 5)) for i in range(60)]

    class Trained(PruningTrainerMixin, trl.SFTTrainer):  # type: ignore[name-defined]
        pass

    def run(resume=None, **settings):
        torch.manual_seed(0)
        config = transformers.LlamaConfig(**SMALL, pad_token_id=0, eos_token_id=1, bos_token_id=1)
        sampler = PruningSampler(60, batch_size=4, budget=2, agent="infobatch", keep_fraction=0.5)
        trainer = Trained(
            transformers.LlamaForCausalLM(config),
            trl.SFTConfig(
                str(tmp_path),
                per_device_train_batch_size=4,
                save_steps=7,
                report_to=[],
                use_cpu=True,
                bf16=False,
                disable_tqdm=True,
                **settings,
            ),
            train_dataset=datasets.Dataset.from_dict({"text": texts}),
            processing_class=fast,
            sampler=sampler,
        )
        trainer.train(resume_from_checkpoint=resume)
        assert trainer.state.global_step == sampler.num_updates
        return trainer.model

    whole = run()
    assert torch.equal(weights(run(str(tmp_path / "checkpoint-14"))), weights(whole))
    with pytest.raises(ValueError, match="`loss_type` must be 'nll', got 'dft'"):
        run(loss_type="dft")
    with pytest.raises(ValueError, match="must hold the 60 samples of the sampler, got 24"):
        run(packing=True, max_length=16)


SMALL = {"vocab_size": 6, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
SMALL["intermediate_size"] = 16
TINY = {"vocab_size": 20, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 16}
BERT = {**TINY, "num_hidden_layers": 1, "num_labels": 3}
MODELS = {
    "BertForMaskedLM": ("BertConfig", BERT),
    "BertForTokenClassification": ("BertConfig", {**BERT, "num_labels": 20}),
    "BertForSequenceClassification": ("BertConfig", BERT),
    "GPT2LMHeadModel": ("GPT2Config", {"vocab_size": 20, "n_embd": 8, "n_layer": 1, "n_head": 2}),
    "LlamaForCausalLM": ("LlamaConfig", {**TINY, "num_hidden_layers": 1}),
    "T5ForConditionalGeneration": (
        "T5Config",
        {"vocab_size": 20, "d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2}
        | {"decoder_start_token_id": 0},
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_loss_of_a_sample_is_the_models_own(name, tmp_path):
    config, settings = MODELS[name]
    network = getattr(transformers, name)(getattr(transformers, config)(**settings)).eval()
    trainer = PruningTrainer(
        network, arguments(tmp_path), train_dataset=SENTENCES, sampler=make_sampler()
    )
    for item, text in zip(SENTENCES[:3], TEXTS[:3], strict=True):
        labels = item["labels"] if "Sequence" in name else text["labels"]
        batch = {"input_ids": item["input_ids"][None], "labels": labels[None]}
        outputs = network(**batch)
        losses, _ = trainer.sample_losses(outputs, batch)
        torch.testing.assert_close(losses, outputs.loss[None])
