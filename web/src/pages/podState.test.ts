import { expect, test } from "vitest";
import type { Pod } from "../api/model";
import { podState } from "./podState";

function pod(phase: string, state: NonNullable<NonNullable<Pod["status"]>["containerStatuses"]>[number]["state"], ready = false): Pod {
  return { spec: { containers: [{ name: "main" }] }, status: { phase, containerStatuses: [{ name: "main", image: "i", imageID: "", ready, restartCount: 2, state }] } };
}

test("a pod's state is the word that kubectl would say", () => {
  expect(podState(pod("Running", { running: {} }, true))).toEqual({ word: "Running", tone: "running", ready: "1/1", restarts: 2 });
  expect(podState(pod("Pending", { waiting: { reason: "ErrImagePull" } })).word).toBe("ErrImagePull");
  expect(podState(pod("Running", { waiting: { reason: "CrashLoopBackOff" } })).tone).toBe("failed");
  expect(podState(pod("Succeeded", { terminated: { exitCode: 0, reason: "Completed" } }))).toMatchObject({ word: "Completed", tone: "succeeded" });
  expect(podState(pod("Failed", { terminated: { exitCode: 137, reason: "OOMKilled" } }))).toMatchObject({ word: "OOMKilled", tone: "failed" });
  expect(podState({ ...pod("Running", { running: {} }), metadata: { deletionTimestamp: "2026-01-01T00:00:00Z" } }).word).toBe("Terminating");
  expect(podState({}).word).toBe("Pending");
});
