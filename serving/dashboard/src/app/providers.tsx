"use client";

import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { NuqsAdapter } from "nuqs/adapters/next/app";
import { type ReactNode, Suspense, useEffect, useState } from "react";
import { keyStore } from "@/api/key";
import { followLive } from "@/api/live";
import { Shell } from "@/panels/Shell";

// Every query is sent again soon, so a failed one is not retried; an offline browser may still reach this machine.
const ALWAYS = { networkMode: "always", retry: false } as const;

export function Providers({ children }: { children: ReactNode }) {
  const [queries] = useState(
    () => new QueryClient({ defaultOptions: { queries: ALWAYS, mutations: ALWAYS } }),
  );
  useEffect(() => {
    const refetchAll = () => void queries.invalidateQueries();
    const unfollowKey = keyStore.subscribe(refetchAll);
    const unfollowLive = followLive(refetchAll);
    return () => {
      unfollowKey();
      unfollowLive();
    };
  }, [queries]);
  return (
    <QueryClientProvider client={queries}>
      <NuqsAdapter>
        <Suspense fallback={<p className="plain">Loading…</p>}>
          <Shell>{children}</Shell>
        </Suspense>
      </NuqsAdapter>
    </QueryClientProvider>
  );
}
