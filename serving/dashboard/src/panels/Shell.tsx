"use client";

import Link from "next/link";
import { usePathname } from "next/navigation";
import type { ReactNode } from "react";
import { healthStore } from "@/api/health";
import { forgetKey, keyStore } from "@/api/key";
import { useFilters, withFilters } from "@/lib/filters";
import { useStore } from "@/lib/store";
import { KeyForm } from "@/ui/KeyForm";
import { AlertAnnouncer } from "./AlertAnnouncer";
import { AlertTab } from "./AlertTab";
import { Connection } from "./Connection";
import { Notices } from "./Notices";

const VIEWS = [
  { path: "/", words: "Live" },
  { path: "/models/", words: "Models" },
  { path: "/operations/", words: "Operations" },
  { path: "/try/", words: "Try it" },
];

/** The frame of every view: links to the other views, the state of the connection, and notices. */
export function Shell({ children }: { children: ReactNode }) {
  const path = usePathname();
  const [filters] = useFilters();
  const key = useStore(keyStore);
  const { keyError } = useStore(healthStore);
  return (
    <>
      <header className="top">
        <span className="brand">Groundswell</span>
        <nav aria-label="Views">
          {VIEWS.map((view) => (
            <Link
              key={view.path}
              href={withFilters(view.path, filters)}
              aria-current={sameView(path, view.path) ? "page" : undefined}
            >
              {view.words}
            </Link>
          ))}
        </nav>
        <div className="standing">
          <Connection />
          {key && (
            <button type="button" className="small" onClick={forgetKey}>
              Forget the key
            </button>
          )}
        </div>
      </header>
      <main id="main" tabIndex={-1}>
        {keyError === null ? children : <KeyForm />}
      </main>
      <Notices />
      <AlertAnnouncer />
      <AlertTab />
    </>
  );
}

function sameView(path: string, view: string): boolean {
  return path.replace(/\/$/, "") === view.replace(/\/$/, "");
}
