# vjserver's commands. `make demo` and `make test` install what they need first; a second run starts at once.
PYTHON ?= python3
BIN := .venv/bin
RUN_PACKAGES := python3-venv python3-dev gcc portaudio19-dev libasound2-plugins libavahi-client3 libavahi-common3
EAR_PACKAGES := fluidsynth fluid-soundfont-gm espeak-ng
NODE_PACKAGES := $(shell command -v npm >/dev/null || echo nodejs npm)
TEST_PACKAGES := $(RUN_PACKAGES) pulseaudio pulseaudio-utils liblo-tools chromium jackd2 flite iproute2 libnss3-tools poppler-utils strace fonts-noto-core fonts-noto-cjk $(EAR_PACKAGES) $(NODE_PACKAGES)
PANEL := vjserver/controls/web/panel

.PHONY: demo test coverage check package site panel thumbs opening pictures moving-picture film-pictures bench ear-bench bench-gpu docs clean

demo: .venv/demo-ready
	@$(BIN)/vjserver demo $(ARGS)

test: .venv/test-ready
	$(BIN)/python -m pytest $(ARGS)

coverage: .venv/test-ready
	$(BIN)/python -m coverage run -m pytest $(ARGS)
	$(BIN)/python -m coverage report --skip-covered --skip-empty --sort=cover

check: .venv/test-ready .venv/panel-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/vjserver osc reference --shipped | diff docs/osc.md -
	$(BIN)/vjserver presets check
	$(BIN)/python -m touchdesigner.generate --check
	cd $(PANEL) && npm run --silent check

package: .venv/test-ready
	$(BIN)/python scripts/check_package

site: .venv/demo-ready
	$(BIN)/pip install -q -e '.[site]'
	$(BIN)/python scripts/make_site

panel: .venv/panel-ready
	cd $(PANEL) && npm run --silent build

thumbs: .venv/demo-ready
	$(BIN)/python scripts/make_thumbs.py

opening: .venv/test-ready
	$(BIN)/python scripts/make_opening.py

pictures: .venv/test-ready
	$(BIN)/python scripts/screenshot

moving-picture: .venv/test-ready
	$(BIN)/python scripts/make_moving_picture.py

film-pictures: .venv/test-ready
	$(BIN)/python scripts/make_film_pictures.py

bench: .venv/test-ready
	$(BIN)/python -m bench $(ARGS)

ear-bench: .venv/test-ready
	$(BIN)/python -m bench.ear_bench $(ARGS)

bench-gpu:
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install -q -e '.[diffusion]'
	$(BIN)/python -m bench.gpu $(ARGS)

docs: .venv/demo-ready
	$(BIN)/vjserver osc reference --shipped > docs/osc.md
	$(BIN)/python -m touchdesigner.generate

.venv/demo-ready: pyproject.toml scripts/need
	@scripts/need $(RUN_PACKAGES)
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install -q -e '.[ndi]'
	@touch $@

.venv/panel-ready: $(PANEL)/package-lock.json .venv/test-ready
	cd $(PANEL) && npm install --no-save --silent
	@touch $@

.venv/test-ready: pyproject.toml scripts/need
	@scripts/need $(TEST_PACKAGES)
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install -q -e '.[dev]'
	@touch $@ .venv/demo-ready

clean:
	rm -rf .venv build dist *.egg-info
