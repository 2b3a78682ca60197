# make run    set up, then classify bundled samples with the bundled model
# make test   set up, then run the tests
# make check  set up, then lint and type-check
# GPU=1 adds the CUDA libraries for an NVIDIA card (Linux), OPENVINO=1 the faster engine for a CPU, RAY=1 what many
# machines need; PYTHON=python3.12 picks another interpreter.

PYTHON ?= python3
VENV := .venv
PIP := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps
EXTRAS := $(if $(GPU),gpu) $(if $(OPENVINO),openvino) $(if $(RAY),ray)
INSTALLED := $(VENV)/installed $(EXTRAS:%=$(VENV)/installed-%)

.PHONY: run test check install lock clean

run: $(INSTALLED)
	$(VENV)/bin/python nsp_bert_classification.py --dataset eprstmt tnews

test: $(INSTALLED) $(VENV)/installed-dev
	$(VENV)/bin/python -m pytest --numprocesses=2 --dist=loadfile $(PYTEST_ARGS)

check: $(VENV)/installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

install: $(INSTALLED)

$(VENV)/installed: requirements.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 10) <= v <= (3, 13) or sys.exit("error: Python %d.%d found, 3.10 to 3.13 needed; try make PYTHON=python3.12" % v)'
	@echo "setting up $(VENV) (downloads about 700 MB once)"
	$(PYTHON) -m venv $(VENV)
	$(PIP) -r requirements.txt
	@touch $@

$(VENV)/installed-%: requirements/%.txt $(VENV)/installed
	$(PIP) -r $<
	@touch $@

COMPILE := uv pip compile --quiet --universal --python-version 3.10 --no-header --no-annotate

lock:  # needs uv; Python 3.10 to 3.13, every platform
	$(COMPILE) --override requirements/overrides.txt requirements/run.in -o requirements/run.lock
	{ echo '# Complete lock. Install it with: pip install --no-deps -r requirements.txt'; \
	  echo '# (A plain install stops: bert4keras asks for a Keras older than TensorFlow 2 allows. It does not need it.)'; \
	  cat requirements/run.lock; } > requirements.txt
	rm requirements/run.lock
	$(COMPILE) -c requirements.txt --no-emit-package openvino-telemetry requirements/dev.in -o requirements/dev.txt
	for extra in openvino ray; do echo $$extra \
	  | $(COMPILE) -c requirements.txt -c requirements/dev.txt --no-emit-package openvino-telemetry - \
	  | grep -vxFf requirements.txt > requirements/$$extra.txt; done
	$(COMPILE) -c requirements.txt requirements/gpu.in | grep '^nvidia-' > requirements/gpu.txt

clean:
	rm -rf $(VENV)
