"""A plain PyTorch loop that survives: it goes on from its checkpoint, on any number of ranks, and stops when asked."""

import torch
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset

import modelyard_trainer
from modelyard_trainer import ElasticSampler

EPOCHS = 2
BATCH = 16


def main() -> None:
    with modelyard_trainer.run() as run:
        torch.manual_seed(0)
        x = torch.randn(1024, 4)
        data = TensorDataset(x, x.sum(dim=1, keepdim=True))
        model = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1)).to(run.device)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        sampler = ElasticSampler(data, run.rank, run.world_size, batch_size=BATCH)
        step = 0
        if (state := run.resume()) is not None:
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
            sampler.load_state_dict(state["sampler"])
            step = state["step"]

        parallel = DistributedDataParallel(model) if run.world_size > 1 else model
        loss = torch.tensor(0.0)
        while sampler.epoch < EPOCHS:
            for features, target in DataLoader(data, BATCH, sampler=sampler):
                loss = torch.nn.functional.mse_loss(parallel(features.to(run.device)), target.to(run.device))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                sampler.advance()
                step += 1
                run.report(step=step, loss=loss)
                if step % 10 == 0 or run.stopping:
                    run.checkpoint(
                        step=step,
                        model=model.state_dict(),
                        optimizer=optimizer.state_dict(),
                        sampler=sampler.state_dict(),
                    )
        run.save(model, example_inputs=x[:2], metrics={"loss": float(loss)})


if __name__ == "__main__":
    main()
