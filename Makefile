# make demo         simulated head through the whole pipeline; results in demo-output/
# make test         lint and every test that runs without 3D Slicer (Testing/README.md)
# make lint         ruff alone
# make screenshots  the pictures of the documentation, taken anew
# make cmake-lists  write the file lists of the CMakeLists.txt files from the files that git tracks
# make clean        remove the environment and everything that was built
#
# All of them but clean make the environment first: VENV is where, PYTHON is the interpreter (3.10 to 3.13) it is made from.

VENV ?= .venv
PYTHON ?= $(shell Testing/find_python.sh)

VENV_PYTHON := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
SYSTEM_LIBRARIES := $(VENV)/.system-libraries

.PHONY: demo test lint screenshots cmake-lists clean
.DEFAULT_GOAL := test

demo: $(INSTALLED)
	$(VENV)/bin/chisep demo

test: $(INSTALLED) $(SYSTEM_LIBRARIES)
	$(VENV_PYTHON) Testing/run_layers.py

lint: $(INSTALLED)
	$(VENV_PYTHON) Testing/run_layers.py lint format

screenshots: $(INSTALLED) $(SYSTEM_LIBRARIES)
	$(VENV_PYTHON) Testing/make_screenshots.py

cmake-lists: $(INSTALLED)
	$(VENV_PYTHON) Testing/update_cmake_lists.py

clean:
	rm -rf $(VENV) build dist demo-output *.egg-info .pytest_cache .ruff_cache
	find ChiSepExtension ChiSepModule Testing -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last: an interrupted installation is repeated, a finished one costs nothing.
$(INSTALLED): Testing/requirements.txt pyproject.toml Testing/make_environment.sh
	Testing/make_environment.sh "$(PYTHON)" "$(VENV)"
	@touch $@

$(SYSTEM_LIBRARIES): $(INSTALLED) Testing/system_libraries.py Testing/install_system_libraries.sh
	Testing/install_system_libraries.sh "$(VENV_PYTHON)"
	@touch $@
