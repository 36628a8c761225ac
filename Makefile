# vjserver's commands. `make demo` and `make test` install what they need first; a second run starts at once.
PYTHON ?= python3
BIN := .venv/bin
RUN_PACKAGES := python3-venv python3-dev gcc portaudio19-dev libasound2-plugins libavahi-client3 libavahi-common3
EAR_PACKAGES := fluidsynth fluid-soundfont-gm espeak-ng
TEST_PACKAGES := $(RUN_PACKAGES) pulseaudio pulseaudio-utils liblo-tools chromium $(EAR_PACKAGES)

.PHONY: demo test check bench ear-bench bench-gpu docs clean

demo: .venv/demo-ready
	@$(BIN)/vjserver demo $(ARGS)

test: .venv/test-ready
	$(BIN)/python -m pytest $(ARGS)

check: .venv/test-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/vjserver osc reference | diff docs/osc.md -
	$(BIN)/vjserver presets check
	$(BIN)/python -m touchdesigner.generate --check

bench: .venv/test-ready
	$(BIN)/python -m bench $(ARGS)

ear-bench: .venv/test-ready
	$(BIN)/python -m bench.ear_bench $(ARGS)

bench-gpu:
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install -q -e '.[diffusion]'
	$(BIN)/python -m bench.gpu $(ARGS)

docs: .venv/demo-ready
	$(BIN)/vjserver osc reference > docs/osc.md
	$(BIN)/python -m touchdesigner.generate

.venv/demo-ready: pyproject.toml scripts/need
	@scripts/need $(RUN_PACKAGES)
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install -q -e '.[ndi]'
	@touch $@

.venv/test-ready: pyproject.toml scripts/need
	@scripts/need $(TEST_PACKAGES)
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install -q -e '.[dev]'
	@touch $@ .venv/demo-ready

clean:
	rm -rf .venv build dist *.egg-info
