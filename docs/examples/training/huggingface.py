"""A Hugging Face Trainer that knows nothing of Modelyard: its own callback for Kubeflow reports to us unchanged."""

import tempfile

import torch
from torch.utils.data import Dataset
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

WORDS = 64
LENGTH = 8


class Sentences(Dataset[dict[str, torch.Tensor]]):
    """Random words, labelled by whether the first one is in the upper half of the vocabulary."""

    def __init__(self, count: int) -> None:
        self.words = torch.randint(0, WORDS, (count, LENGTH), generator=torch.Generator().manual_seed(0))

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        words = self.words[index]
        return {"input_ids": words, "labels": (words[0] >= WORDS // 2).long()}


def main() -> None:
    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=WORDS,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=LENGTH,
        )
    )
    arguments = TrainingArguments(
        output_dir=tempfile.mkdtemp(),
        max_steps=30,
        per_device_train_batch_size=8,
        learning_rate=1e-2,
        logging_steps=5,
        use_cpu=not torch.cuda.is_available(),
        report_to="none",  # Kubeflow's is added where its variables are
        save_strategy="no",
        disable_tqdm=True,
    )
    Trainer(model=model, args=arguments, train_dataset=Sentences(512)).train()


if __name__ == "__main__":
    main()
