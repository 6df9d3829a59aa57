package ulysses.driver.report;

/** The style sheet of {@link ReportPage}, for bright and dark screens and for paper. */
final class PageStyle {
    static final String CSS = """

            :root { --ink: #1d2430; --dim: #5d6a7e; --paper: #ffffff; --card: #f6f8fa; --rule: #dde3ea;
              --first: #1f77b4; --pale: #a5c9e1; --second: #d9541e; --third: #2b8a3e; --fourth: #7b4fb5; --trained: #cdebd3; --bad: #b3261e; --warn: #8a5a00; }
            @media (prefers-color-scheme: dark) { :root { --ink: #e4e9f0; --dim: #98a5b8; --paper: #14181f; --card: #1c222c;
              --rule: #313a47; --first: #62b0e8; --pale: #4b7ea8; --second: #ff9a6b; --third: #6fcf86; --fourth: #b99cf0; --trained: #1f4a2c; --bad: #ff8a80;
              --warn: #f0c060; } }
            * { box-sizing: border-box; }
            body { margin: 0 auto; padding: 24px; max-width: 1340px; background: var(--paper); color: var(--ink);
              font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
            h1 { margin: 0; font-size: 26px; } h2 { margin: 36px 0 12px; font-size: 20px; } h3 { margin: 20px 0 8px; font-size: 16px; }
            .sub { margin: 2px 0; color: var(--dim); overflow-wrap: anywhere; }
            .state { font-weight: 600; } .state.done { color: var(--first); } .state.failed { color: var(--bad); }
            .tiles { display: flex; flex-wrap: wrap; gap: 10px; margin-top: 16px; }
            .tiles div { background: var(--card); border: 1px solid var(--rule); border-radius: 8px; padding: 8px 16px; min-width: 110px; }
            .tiles b { display: block; font-size: 20px; } .tiles span { color: var(--dim); font-size: 13px; }
            .charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(440px, 100%), 1fr)); gap: 14px; }
            figure { margin: 0; background: var(--card); border: 1px solid var(--rule); border-radius: 8px; padding: 10px 12px 4px; }
            figcaption { font-size: 14px; } .unit { color: var(--dim); }
            .key { margin-left: 12px; color: var(--dim); font-size: 13px; }
            .key::before { content: ""; display: inline-block; width: 16px; height: 3px; margin-right: 5px; vertical-align: middle; }
            .key.first::before { background: var(--first); } .key.pale::before { background: var(--pale); }
            .key.second::before { background: var(--second); } .key.third::before { background: var(--third); }
            .key.fourth::before { background: var(--fourth); }
            svg { display: block; width: 100%; height: auto; }
            .grid { stroke: var(--rule); stroke-width: 1; } .axis { stroke: var(--dim); fill: none; }
            .tick { fill: var(--dim); font-size: 12px; }
            .line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
            .line.first { stroke: var(--first); } .line.pale { stroke: var(--pale); stroke-width: 1.5; } .line.second { stroke: var(--second); }
            .line.third { stroke: var(--third); } .line.fourth { stroke: var(--fourth); }
            .point { fill: transparent; } .point:hover { fill: var(--second); } .alone.first { fill: var(--first); }
            .alone.second { fill: var(--second); } .alone.third { fill: var(--third); } .alone.fourth { fill: var(--fourth); } .alone.pale { fill: var(--pale); }
            #config td:first-child { white-space: nowrap; } #config td:nth-child(2) { min-width: 200px; }
            .parts { display: flex; flex-wrap: wrap; gap: 0 60px; }
            table { border-collapse: collapse; font-size: 14px; } th, td { padding: 3px 14px 3px 0; text-align: left; vertical-align: top; }
            tr { border-bottom: 1px solid var(--rule); } th { font-weight: 600; color: var(--dim); }
            td { overflow-wrap: anywhere; } .right { text-align: right; white-space: nowrap; }
            .log td:first-child { white-space: nowrap; color: var(--dim); } .bad td { color: var(--bad); } .warn td { color: var(--warn); }
            .log td { white-space: pre-wrap; }
            .note { color: var(--warn); margin: 4px 0; } .ignored { color: var(--dim); }
            pre { margin: 4px 0; padding: 12px; background: var(--card); border: 1px solid var(--rule); border-radius: 8px;
              white-space: pre-wrap; overflow-wrap: anywhere; font: 13px/1.5 ui-monospace, "DejaVu Sans Mono", monospace; }
            mark { background: var(--trained); color: inherit; border-radius: 3px; }
            summary { cursor: pointer; color: var(--dim); margin: 10px 0; }
            @media print { body { max-width: none; } figure, .example { break-inside: avoid; } }
            """;

    private PageStyle() {}
}
