# Serves a run on the CPU: docker build -t mura . && docker run -p 127.0.0.1:8000:8000 -v $PWD/runs/demo:/model:ro mura
FROM python:3.12-slim
# The index to take torch from, for a smaller build without CUDA; empty for the default one.
ARG TORCH_INDEX=
WORKDIR /app
RUN useradd --no-create-home mura \
 && pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch torchvision
COPY setup.cfg pyproject.toml README.md LICENSE ./
COPY mura_env mura_env
COPY base_models base_models
COPY agents agents
COPY mura_app mura_app
RUN pip install --no-cache-dir '.[serve,dicom]'
USER mura
EXPOSE 8000
HEALTHCHECK CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/health', timeout=5)"]
ENTRYPOINT ["mura", "serve", "--host", "0.0.0.0", "--run", "/model"]
