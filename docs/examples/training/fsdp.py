"""A model sharded over the ranks with FSDP2: each rank checkpoints its own part, and any number of ranks goes on."""

import torch
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

import modelyard_trainer

STEPS = 40


def network() -> torch.nn.Sequential:
    return torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))


def main() -> None:
    with modelyard_trainer.run() as run:
        torch.manual_seed(0)
        mesh = init_device_mesh(run.device.type, (run.world_size,))
        model = network().to(run.device)
        fully_shard(model, mesh=mesh)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)

        def state() -> dict[str, object]:
            return {
                "model": get_model_state_dict(model),
                "optimizer": get_optimizer_state_dict(model, optimizer),
            }

        first = 1
        if (saved := run.resume(**state())) is not None:
            set_model_state_dict(model, saved["model"])
            set_optimizer_state_dict(model, optimizer, saved["optimizer"])
            first = saved["step"] + 1

        loss = torch.tensor(0.0)
        for step in range(first, STEPS + 1):
            x = torch.randn(32, 4, device=run.device)
            loss = torch.nn.functional.mse_loss(model(x), x.sum(dim=1, keepdim=True))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            run.report(step=step, total_steps=STEPS, loss=loss)
            if step % 10 == 0 or run.stopping:
                run.checkpoint(step=step, **state())  # on all ranks
        # The whole model, for the artefact: gathered on rank 0.
        whole = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
        exported = network()
        if run.is_main:
            exported.load_state_dict(whole)
        run.save(exported, example_inputs=torch.randn(2, 4), metrics={"loss": float(loss)})


if __name__ == "__main__":
    main()
