"""Handwritten digits: train a small convolutional network on one process or many, and save it with its data sets."""

import argparse

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

import modelyard_trainer

CALIBRATION_SAMPLES = 256


def main() -> None:
    args = arguments()
    with modelyard_trainer.run() as run:
        torch.manual_seed(args.seed)
        train, test = digits(args.seed)
        sampler: DistributedSampler[TensorDataset] = DistributedSampler(
            train, run.world_size, run.rank, seed=args.seed, drop_last=True
        )
        loader = DataLoader(train, args.batch_size, sampler=sampler, drop_last=True)
        steps = args.epochs * len(loader)

        model = network().to(run.device)
        optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.lr, total_steps=steps)
        first_epoch = 0
        if (state := run.resume()) is not None:
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
            schedule.load_state_dict(state["schedule"])
            first_epoch = state["epoch"] + 1

        parallel = DistributedDataParallel(model) if run.world_size > 1 else model
        for epoch in range(first_epoch, args.epochs):
            sampler.set_epoch(epoch)
            for batch, (image, label) in enumerate(loader, start=1):
                loss = nn.functional.cross_entropy(parallel(image.to(run.device)), label.to(run.device))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                run.report(step=epoch * len(loader) + batch, total_steps=steps, loss=loss)
            run.report(step=(epoch + 1) * len(loader), total_steps=steps, accuracy=accuracy(model, test, run.device))
            run.checkpoint(
                step=(epoch + 1) * len(loader),
                epoch=epoch,
                model=model.state_dict(),
                optimizer=optimizer.state_dict(),
                schedule=schedule.state_dict(),
            )

        run.save(
            model,
            example_inputs=test.tensors[0][:2],
            evaluation=test.tensors,
            calibration=train.tensors[0][:CALIBRATION_SAMPLES],
            metrics={"accuracy": accuracy(model, test, run.device)},
            input_names=["image"],
            output_names=["logits"],
        )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--batch-size", type=int, default=32, help="samples a step on each process")
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def digits(seed: int) -> tuple[TensorDataset, TensorDataset]:
    """1797 scans of 8 x 8 pixels, scaled to 0..1; a fifth of each digit is held out."""
    scans, labels = load_digits(return_X_y=True)
    parts = train_test_split(scans, labels, test_size=0.2, stratify=labels, random_state=seed)
    train_scans, test_scans = (torch.tensor(part / 16, dtype=torch.float32).reshape(-1, 1, 8, 8) for part in parts[:2])
    train_labels, test_labels = (torch.tensor(part) for part in parts[2:])
    return TensorDataset(train_scans, train_labels), TensorDataset(test_scans, test_labels)


def network() -> nn.Sequential:
    """Five convolutions; [n, 1, 8, 8] -> [n, 10]."""
    return nn.Sequential(
        *convolution(1, 32),
        *convolution(32, 64),
        *convolution(64, 64),
        nn.MaxPool2d(2),
        *convolution(64, 128),
        *convolution(128, 128),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(512, 10),
    )


def convolution(channels_in: int, channels_out: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(channels_in, channels_out, 3, padding=1), nn.BatchNorm2d(channels_out), nn.ReLU()


@torch.inference_mode()
def accuracy(model: nn.Module, data: TensorDataset, device: torch.device) -> float:
    """The share of ``data`` that the model gets right."""
    model.eval()
    image, label = data.tensors
    right = model(image.to(device)).argmax(dim=1).cpu() == label
    model.train()
    return int(right.sum()) / len(right)


if __name__ == "__main__":
    main()
