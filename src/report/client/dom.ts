// The part of the DOM that the page's script uses. TypeScript's own DOM library would make its globals (name, event, status ...) known in every
// file of the project, where they do not exist.

/** An element of the page. */
export interface PageElement {
  value: string;
  checked: boolean;
  hidden: boolean;
  textContent: string | null;
  innerHTML: string;
  open: boolean;
  readonly clientWidth: number;
  readonly dataset: Record<string, string | undefined>;
  readonly style: { setProperty(name: string, value: string): void };
  querySelector(selector: string): PageElement | null;
  querySelectorAll(selector: string): Iterable<PageElement>;
  addEventListener(type: string, listener: (event: PageEvent) => void): void;
  dispatchEvent(event: unknown): void;
  replaceChildren(...children: readonly unknown[]): void;
  append(...children: readonly unknown[]): void;
  setAttribute(name: string, value: string): void;
  getBoundingClientRect(): { left: number; top: number };
}

export interface PageEvent {
  readonly key: string;
  preventDefault(): void;
}

/** The window of the page. */
export interface PageWindow {
  readonly document: PageElement & { createElement(name: string): PageElement };
  readonly PointerEvent: new (type: string, options: object) => unknown;
  readonly ResizeObserver: new (listener: () => void) => { observe(element: PageElement): void };
  readonly EventSource: new (
    url: string,
  ) => {
    addEventListener(type: string, listener: (event: { data: string }) => void): void;
    onerror: (() => void) | null;
    onopen: (() => void) | null;
  };
  fetch(url: string, options: object): Promise<{ ok: boolean }>;
  requestAnimationFrame(callback: () => void): void;
  matchMedia(query: string): { addEventListener(type: string, listener: () => void): void };
}
