// Corrections of one picture with undo and redo.

import { computed, signal, type ReadonlySignal, type Signal } from "@preact/signals";
import type { Corrections } from "./corrections";

export interface History {
  now: Signal<Corrections>;
  canUndo: ReadonlySignal<boolean>;
  canRedo: ReadonlySignal<boolean>;
  /** Sets corrections; while a slider moves they are not yet one to come back to. */
  set(corrections: Corrections, moving?: boolean): void;
  undo(): void;
  redo(): void;
}

export function makeHistory(first: Corrections): History {
  const now = signal(first);
  const steps = signal<Corrections[]>([first]);
  const at = signal(0);
  const jump = (to: number) => {
    at.value = Math.min(Math.max(to, 0), steps.value.length - 1);
    now.value = steps.value[at.value]!;
  };
  return {
    now,
    canUndo: computed(() => at.value > 0),
    canRedo: computed(() => at.value < steps.value.length - 1),
    set(corrections, moving = false) {
      now.value = corrections;
      if (moving) return;
      steps.value = [...steps.value.slice(0, at.value + 1), corrections];
      at.value += 1;
    },
    undo: () => jump(at.value - 1),
    redo: () => jump(at.value + 1),
  };
}
