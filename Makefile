# The two commands of the README: make demo, make test. All set-up happens below build/ and .venv.
PYTHON ?= python3
UV := build/tools/bin/uv
BIN := .venv/bin
STAMP := .venv/installed
# Set in some containers; it makes every start compile torch again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-unit test-local test-api test-e2e test-faults cluster-up cluster-down cluster-env images bench-operator bench-training check format generate lock clean test-compression bench-compression bench-serving test-serving

demo: $(STAMP)  ## train, compress and serve handwritten digits on this machine, and ask the service
	$(BIN)/modelyard run docs/examples/digits/digits.yaml --keep --state build/demo
	@echo
	$(BIN)/modelyard predict digits --protocol all --samples 360 --state build/demo
	@echo
	$(BIN)/modelyard stop --state build/demo

test: $(STAMP)  ## all tests that this machine can run; the end names those that it cannot
	$(BIN)/python tests/tiers.py

test-unit test-local test-api test-e2e test-compression: $(STAMP)
	$(BIN)/python tests/tiers.py $(@:test-%=%)

test-faults: $(STAMP)  ## every fault of a training, in the process cluster and on a real node
	MODELYARD_ALL_FAULTS=1 $(BIN)/python -m pytest tests/local/test_training_faults.py
	MODELYARD_ALL_FAULTS=1 $(BIN)/python -m pytest tests/e2e/test_training_faults_on_the_node.py

cluster-up:  ## a Kubernetes with one node on this machine, as plain processes; UP="--no-node" for the API server only
	@$(PYTHON) tests/cluster/cluster.py up $(UP)

cluster-down:
	@$(PYTHON) tests/cluster/cluster.py down

cluster-env:  ## eval "$$(make -s cluster-env)"
	@$(PYTHON) tests/cluster/cluster.py env

bench-operator: $(STAMP)  ## the operator with thousands of objects; prints a table
	@PYTHONPATH=tests/cluster $(BIN)/python tests/benchmarks/operator_scale.py

bench-training: $(STAMP)  ## seconds from a fault to training again, on a real node; prints a table
	@PYTHONPATH=tests/cluster:tests/faults:images $(BIN)/python tests/benchmarks/recovery.py --repeat $(or $(REPEAT),10)

bench-compression: $(STAMP)  ## our compression beside the defaults of others, on networks trained here; prints a table
	@PYTHONPATH=tests/compression $(BIN)/python tests/benchmarks/compression_models.py

bench-serving: $(STAMP)  ## the model server beside a bare ONNX Runtime loop and its peers; prints tables; BENCH="--help"
	@$(BIN)/python tests/benchmarks/serving.py $(BENCH)

test-serving: $(STAMP)  ## others' clients, h2spec and fuzzers, 200 terminations under load and a million fuzzed requests; about 7 minutes on 2 cores
	$(call environment,tritonclient,'tritonclient[all]')
	$(call environment,kserve,kserve)
	$(call environment,schemathesis,schemathesis)
	$(call environment,atheris,--only-binary atheris atheris numpy orjson pydantic)
	H2SPEC=$$(PYTHONPATH=tests/cluster $(BIN)/python -c 'import binaries; print(binaries.h2spec())') && export H2SPEC && \
	TRITONCLIENT_PYTHON=build/tritonclient/bin/python KSERVE_PYTHON=build/kserve/bin/python \
	  ATHERIS_PYTHON=$(CURDIR)/build/atheris/bin/python SCHEMATHESIS=$(CURDIR)/build/schemathesis/bin/schemathesis \
	  SCHEMATHESIS_EXAMPLES=200 TERMINATIONS=200 FUZZED_REQUESTS=1000000 $(BIN)/python -m pytest -v -n 2 --dist loadfile tests/conformance \
	  tests/local/test_serving_terminations.py tests/local/test_serving_fuzz.py

images:  ## the container images, with Docker or buildah; PUSH=host:port pushes them, BASE=... takes another base
	@$(PYTHON) images/build.py $(if $(PUSH),--push $(PUSH)) $(if $(BASE),--base $(BASE))

check: $(STAMP)  ## what CI checks besides the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy operator images tests docs/examples charts/modelyard/files
	$(BIN)/lint-imports
	$(BIN)/modelyard generate --check

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

generate: $(STAMP)  ## CRDs, reference pages, code in examples
	$(BIN)/modelyard generate

# An environment below build/: its name and what it holds.
environment = $(UV) venv --quiet --allow-existing --python $(PYTHON) build/$(1) \
  && $(UV) pip install --quiet --python build/$(1) $(2)

lock: $(UV)  ## choose the versions in constraints.txt anew
	$(UV) pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-annotate --upgrade --quiet --output-file constraints.txt

clean:
	rm -rf build .venv

$(UV): constraints-uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "python3 >= 3.11 is needed; set PYTHON=..."; exit 1; }
	@$(PYTHON) -m venv build/tools || { echo "python3 lacks venv; on Debian: apt-get install python3-venv"; exit 1; }
	build/tools/bin/pip install --quiet --disable-pip-version-check --require-hashes -r constraints-uv.txt

$(STAMP): constraints.txt pyproject.toml $(UV)
	$(UV) venv --quiet --allow-existing --python $(PYTHON) .venv
	$(UV) pip install --quiet --python .venv --require-hashes -r constraints.txt
	$(UV) pip install --quiet --python .venv --no-deps --no-build-isolation -e .
	@touch $@
