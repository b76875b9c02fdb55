// Thousands of tiles of one size, of which only those in sight are drawn; arrow keys move in it.

import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";

const LEAST_WIDTH = 150;
const GAP = 10;
// Lines of tiles beyond the window that are drawn all the same.
const AHEAD = 2;

interface Seen {
  columns: number;
  first: number;
  last: number;
}

interface GridProps {
  count: number;
  height: number;
  label: string;
  /** The tile that can be reached by Tab, and where the grid begins to show. */
  start: number;
  /** Whether that tile takes the focus once it is there. */
  focusStart: boolean;
  onActive: (index: number) => void;
  children: (index: number, tabIndex: 0 | -1) => ComponentChildren;
}

export function Grid({ count, height, label, start, focusStart, onActive, children }: GridProps) {
  const list = useRef<HTMLUListElement>(null);
  const [seen, setSeen] = useState<Seen>({ columns: 1, first: 0, last: 0 });
  const [active, setActive] = useState(Math.min(start, count - 1));
  const focus = useRef(focusStart);
  const line = height + GAP;

  useLayoutEffect(() => {
    const measure = () => {
      const box = list.current!.getBoundingClientRect();
      const columns = Math.max(Math.floor((box.width + GAP) / (LEAST_WIDTH + GAP)), 2);
      const first = Math.max(Math.floor(-box.top / line) - AHEAD, 0) * columns;
      const last = (Math.ceil((innerHeight - box.top) / line) + AHEAD) * columns;
      setSeen((old) => (old.columns === columns && old.first === first && old.last === last ? old : { columns, first, last }));
    };
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(list.current!);
    // Also when it is not the window that scrolls.
    addEventListener("scroll", measure, { capture: true, passive: true });
    addEventListener("resize", measure);
    return () => {
      observer.disconnect();
      removeEventListener("scroll", measure, { capture: true });
      removeEventListener("resize", measure);
    };
  }, [line]);

  useLayoutEffect(() => {
    if (!focus.current || !seen.last) return;
    focus.current = false;
    list.current!.querySelector<HTMLElement>('[tabindex="0"]')?.focus();
  });

  const current = Math.max(Math.min(active, count - 1), 0);
  const move = (event: KeyboardEvent) => {
    const page = seen.columns * Math.max(Math.floor(innerHeight / line) - 1, 1);
    const steps: Record<string, number> = {
      ArrowLeft: -1,
      ArrowRight: 1,
      ArrowUp: -seen.columns,
      ArrowDown: seen.columns,
      PageUp: -page,
      PageDown: page,
      Home: -current,
      End: count - 1 - current,
    };
    const step = steps[event.key];
    if (step === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    focus.current = true;
    const next = Math.max(Math.min(current + step, count - 1), 0);
    setActive(next);
    onActive(next);
  };

  const shown = new Set<number>();
  for (let i = seen.first; i < Math.min(seen.last, count); i++) shown.add(i);
  if (count) shown.add(current);
  const lines = Math.ceil(count / seen.columns);
  return (
    <ul class="grid" ref={list} aria-label={label} style={{ height: `${lines * line}px` }} onKeyDown={move}>
      {[...shown].map((index) => (
        <li
          key={index}
          aria-setsize={count}
          aria-posinset={index + 1}
          onFocusIn={() => {
            setActive(index);
            onActive(index);
          }}
          style={{
            top: `${Math.floor(index / seen.columns) * line}px`,
            left: `calc(${index % seen.columns} * (100% + ${GAP}px) / ${seen.columns})`,
            width: `calc((100% + ${GAP}px) / ${seen.columns} - ${GAP}px)`,
            height: `${height}px`,
          }}
        >
          {children(index, index === current ? 0 : -1)}
        </li>
      ))}
    </ul>
  );
}
