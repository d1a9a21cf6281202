"""GET /api/model: which model a server answers with, and what computes it. Says no path."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, Field

from stream.app import Service
from stream.engine import NamedEngine


class ModelReport(BaseModel):
    """The model as of now; SIGHUP may bring another one."""

    file: str = Field(description="the checkpoint's file, without its folder; empty where it is from none")
    engine: str = Field(description='what computes it: "torch" or "openvino"; empty where that is not known')
    device: str = Field(description='"cpu" or "cuda"; empty where that is not known')
    precision: str = Field(description='"float32", "bfloat16" or "float16"; empty where that is not known')
    note: str = Field(
        description="why it is not another engine, or for which pictures torch answers in its place; may be empty"
    )
    labels: tuple[str, ...] = Field(description="the classes that it knows")
    window_frames: int = Field(description="frames that are looked at together")
    stride: int = Field(description="a new window begins every so many frames")


def model_router(service: Service) -> APIRouter:
    """The route /api/model."""
    router = APIRouter(prefix="/api/model", tags=["model"])

    @router.get("", summary="The model, and what computes it")
    async def model() -> ModelReport:
        return report_of(service)

    return router


def report_of(service: Service) -> ModelReport:
    """The model of a service as of now."""
    engine = service.engine
    file = computed = device = precision = note = ""
    if isinstance(engine, NamedEngine):
        info = engine.info
        file, computed, device, precision, note = (
            engine.file,
            info.engine,
            info.device,
            info.precision,
            info.why,
        )
    return ModelReport(
        file=file,
        engine=computed,
        device=device,
        precision=precision,
        note=note,
        labels=engine.labels,
        window_frames=engine.window_frames,
        stride=service.config.pipeline.stride or engine.stride,
    )
