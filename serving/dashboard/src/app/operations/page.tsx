import type { Metadata } from "next";
import { OperationsView } from "@/panels/OperationsView";

export const metadata: Metadata = { title: "Operations" };

export default function Page() {
  return <OperationsView />;
}
